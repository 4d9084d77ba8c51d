/* How Solo5 and MirageOS (3.3 on, unix too) cut a command line: only 0x20 separates; `\`
   escapes any character, inside quotes too; `"` toggles quoting; empty tokens vanish. */
#include "guest.h"

int split(char *line, char **tokens, int room)
{
    int count = 0;
    bool quoted = false;
    char *out = line, *start = line;

    for (char *in = line;; in++) {
        bool end = *in == '\0';
        if (end || (*in == ' ' && !quoted)) {
            if (out > start && count < room)
                tokens[count++] = start;
            *out++ = '\0'; /* never ahead of `in`: each token is no longer than its source */
            start = out;
            if (end)
                return quoted ? -1 : count;
        } else if (*in == '"') {
            quoted = !quoted;
        } else {
            if (*in == '\\' && in[1] != '\0')
                in++;
            *out++ = *in;
        }
    }
}
