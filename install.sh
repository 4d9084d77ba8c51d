#!/bin/sh
# Puts mirage-hooks on this host and into a deployment repository. See --help.
set -eu
umask 022

usage() {
    cat <<'END'
./install.sh --demo [--keep] [--image FILE]
    see it work: no root, no hypervisor, nothing left behind
./install.sh [--prefix DIR] [--config FILE] [--cron SPEC | --timer | --no-cron] [--adopt]
            REPOSITORY
    install into REPOSITORY, a clone or a bare repository: hooks, a mirage.yml and
    two cron lines (one for boot), or a timer; safe to run again, also to upgrade
./install.sh [the same options] --from URL [DIR]
    first clone URL into DIR, with only what a host needs: no old images, no work tree
./install.sh --uninstall [--stop] [--purge] [--prefix DIR] REPOSITORY
    put all back as it was; what runs goes on, mirage.yml and the state are kept
./install.sh --upgrade [--prefix DIR]
    bring this clone up to date (git pull), try what came next to the installed version,
    and change over for every repository; `mirage-hooks upgrade` does this
./install.sh --back [--prefix DIR]
    go back to the version that was installed before

--prefix DIR    where the private Python environment goes
                (~/.local/share/mirage-hooks; as root /opt/mirage-hooks)
--config FILE   the host's mirage.yml; a commented one is made if there is none
--cron SPEC     when to pull, as crontab has it (*/7 * * * *)
--timer         a systemd timer in the place of the cron lines
--no-cron       neither: nothing pulls by itself
--adopt         only write the mirage.yml that does what the repository's old scripts
                did: no hook, no cron line; read it, and run again without --adopt
--stop          end what runs, too
--purge         remove the state, too: releases, their consoles, the history
--keep          leave the demo running, and say how to stop it
--image FILE    show a unix/socket image of yours in the demo

PYTHON names the Python to use (3.10 or newer); pip's own PIP_… variables hold.
END
}

main() {
    understand "$@"
    find_python
    if [ "$demo" ]; then run_demo; fi
    if [ "$uninstall" ]; then uninstall; exit 0; fi
    if [ "$back" ]; then go_back; exit 0; fi
    if [ "$upgrade" ]; then bring_up_to_date; elif [ "$from" ]; then check_folder; else check_repository; fi
    check_places
    trap clean_up EXIT
    trap interrupted INT
    trap 'exit 143' TERM HUP
    if [ "$from" ]; then clone; fi
    mkdir -p "$prefix/bin" "$commands"
    copy=$(mktemp -d)
    export TMPDIR="$copy" # what venv and pip leave when they are interrupted goes with it
    copy_source
    if up_to_date; then
        say "The environment in $prefix is up to date."
    else
        venv=$(mktemp -d "$prefix/venv-XXXXXX")
        chmod 755 "$venv"
        build "$venv"
        if [ "$upgrade" ]; then each_repository compare "$venv"; fi
        switch
    fi
    link ../current/bin/mirage-hooks "$prefix/bin/mirage-hooks"
    link "$prefix/bin/mirage-hooks" "$commands/mirage-hooks"
    if [ "$upgrade" ]; then
        each_repository again
        done=1
        discard_old
        say "$("$prefix/bin/mirage-hooks" --version) is installed; back: mirage-hooks upgrade --back"
        exit 0
    fi
    if [ "$from" ]; then move_clone; fi
    set -- install "$repository"
    if [ "$config" ]; then set -- "$@" --config "$config"; fi
    if [ "$cron" ]; then set -- "$@" --cron "$cron"; fi
    if [ "$timer" ]; then set -- "$@" --timer; fi
    if [ "$no_cron" ]; then set -- "$@" --no-cron; fi
    if [ "$adopt" ]; then set -- "$@" --adopt; fi
    "$prefix/bin/mirage-hooks" "$@"
    done=1
    discard_old
    if [ ! "$no_cron$adopt" ]; then first_run; fi
    case ":$PATH:" in
        *":$commands:"*) ;;
        *) say "$commands is not on your PATH: call $commands/mirage-hooks, or add it." ;;
    esac
}

say() { printf '%s\n' "$*"; }

# What is wrong, and what to do about it.
die() {
    printf 'install.sh: %s\n' "$1" >&2
    if [ "${2-}" ]; then printf '  hint: %s\n' "$2" >&2; fi
    exit 1
}

misused() {
    printf 'install.sh: %s\n' "$1" >&2
    printf '  hint: ./install.sh --help\n' >&2
    exit 2
}

understand() {
    demo='' keep='' image='' uninstall='' config='' cron='' no_cron='' repository='' from='' adopt='' prefix='' ordinary=''
    stop='' purge='' timer='' upgrade='' back=''
    while [ $# -gt 0 ]; do
        case $1 in
            --prefix | --config | --cron | --image | --from)
                if [ $# -lt 2 ]; then misused "$1 wants a value"; fi
                take "$1" "$2"
                shift
                ;;
            --prefix=* | --config=* | --cron=* | --image=* | --from=*) take "${1%%=*}" "${1#*=}" ;;
            --demo) demo=1 ;;
            --keep) keep=1 ;;
            --uninstall) uninstall=1 ;;
            --timer) timer=1 ;;
            --stop) stop=1 ;;
            --upgrade) upgrade=1 ;;
            --back) back=1 ;;
            --purge) purge=1 ;;
            --no-cron) no_cron=1 ;;
            --adopt) adopt=1 ;;
            -h | --help) usage && exit 0 ;;
            -*) misused "$1 is not known" ;;
            *)
                if [ "$repository" ]; then misused "one repository at a time, not also $1"; fi
                repository=$1
                ;;
        esac
        shift
    done
    if [ "$upgrade$back" ]; then
        if [ "$demo$repository$uninstall$config$cron$timer$no_cron$from$adopt$stop$purge" ] ||
            [ "$upgrade$back" = 11 ]; then
            misused '--upgrade and --back go only with --prefix'
        fi
    elif [ ! "$demo$repository$from" ]; then misused 'name a repository, or --demo'; fi
    if [ "$demo" ] && [ "$repository$uninstall$config$cron$timer$no_cron$prefix$from$adopt$stop$purge" ]; then
        misused '--demo goes only with --keep and --image'
    fi
    if [ ! "$demo" ] && [ "$keep$image" ]; then misused '--keep and --image go with --demo'; fi
    case ${cron:+1}$timer$no_cron in
        11*) misused 'one of --cron, --timer and --no-cron' ;;
    esac
    if [ ! "$uninstall" ] && [ "$stop$purge" ]; then
        misused '--stop and --purge go with --uninstall'
    fi
    if [ "$uninstall" ] && [ "$from$adopt" ]; then
        misused '--uninstall goes without --from and --adopt'
    fi
    if [ "$from" ] && [ ! "$repository" ]; then
        repository=$(basename -- "${from##*:}" .git)
    fi
    source=$(cd -- "$(dirname -- "$0")" && pwd -P)
    if [ "$(id -u)" = 0 ]; then
        prefix=${prefix:-/opt/mirage-hooks}
        commands=/usr/local/bin
    else
        if [ ! "${HOME-}" ] && [ ! "$demo" ]; then
            die 'HOME is not set, and there a user'"'"'s commands go' \
                'HOME=/home/… ./install.sh …, or run it from a login: sudo -iu USER'
        fi
        prefix=${prefix:-${XDG_DATA_HOME:-${HOME-}/.local/share}/mirage-hooks}
        commands=${HOME-}/.local/bin
    fi
    prefix=$(absolute "$prefix")
}

take() {
    if [ ! "$2" ]; then misused "$1 wants a value"; fi
    case $1 in
        --prefix) prefix=$2 ;;
        --config) config=$(absolute "$2") ;;
        --cron) cron=$2 ;;
        --image) image=$(absolute "$2") ;;
        --from) from=$2 ;;
    esac
}

absolute() { case $1 in /*) printf '%s' "$1" ;; *) printf '%s/%s' "$(pwd)" "$1" ;; esac; }

find_python() {
    if ! command -v git >/dev/null; then
        die 'git is not installed' 'apt install git, or your system'"'"'s way'
    fi
    for python in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11 python3.10
    do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            break
        fi
        python=''
    done
    if [ ! "$python" ]; then
        found=$(python3 --version 2>/dev/null) || found='no python3'
        die "Python 3.10 or newer is needed, and this host has $found" \
            'install one, or name one: PYTHON=/path/to/python3 ./install.sh …'
    fi
    if [ ! "$uninstall" ] && ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        die "$python has no venv module" 'apt install python3-venv, or your system'"'"'s way'
    fi
}

check_repository() {
    if [ ! -e "$repository" ]; then die "$repository does not exist" 'clone it first'; fi
    if [ ! -d "$repository" ]; then
        die "$repository is no folder" 'name a clone or a bare repository'
    fi
    if ! said=$(LC_ALL=C git -C "$repository" rev-parse --git-common-dir 2>&1); then
        case $said in
            *'dubious ownership'*)
                owner=$("$python" -c 'import pathlib, sys
print(pathlib.Path(sys.argv[1]).owner())' "$repository")
                die "git refuses $repository: it belongs to another user, $owner" \
                    "run this as its owner: sudo -u $owner ./install.sh …; git's own way out, safe.directory, would run as you whatever $owner writes into its configuration and hooks"
                ;;
        esac
        die "$repository is not a git repository" 'name a clone or a bare repository'
    fi
    git_dir=$(cd -- "$repository" && cd -- "$said" && pwd -P)
    require_writable "$git_dir"
    check_hooks
}

# As `Asked.hooks` does, but before an environment is built.
check_hooks() {
    hooks=$(git -C "$repository" config --type=path core.hooksPath || true)
    if [ ! "$hooks" ]; then return 0; fi
    tree=$(git -C "$repository" rev-parse --show-toplevel 2>/dev/null || printf '%s' "$git_dir")
    hooks=$("$python" -c 'import pathlib, sys
print(pathlib.Path(*sys.argv[1:]).resolve())' "$tree" "$hooks")
    case $hooks/ in
        "$git_dir"/*) ;;
        *)
            die "core.hooksPath makes git run the hooks in $hooks, which is not inside $git_dir and so not for this repository alone" \
                "give it hooks of its own: git -C $tree config core.hooksPath $git_dir/hooks"
            ;;
    esac
}

check_folder() {
    repository=$(absolute "$repository")
    if [ -e "$repository" ] || [ -L "$repository" ]; then
        die "$repository is there already" \
            'leave --from out to install into it, or name another folder'
    fi
    require_writable "$(dirname -- "$repository")"
    repository_from=$(existing "$(dirname -- "$repository")")
    # A folder's own path would be copied whole, by hard links.
    if [ -d "$from" ]; then from=file://$(cd -- "$from" && pwd -P); fi
    shown=$(printf '%s' "$from" | masked)
}

# A clone without old images and with no files but the top folder's, beside its final place.
clone() {
    cloned=$(mktemp -d "$repository_from/.mirage-hooks-XXXXXX")
    say "Cloning $shown …"
    # merge.stat: to count changed lines, `git pull` would fetch every image that came and went.
    # gc.autoPackLimit: each pull leaves a pack with a whole image in it, which gc makes a delta.
    if ! said=$(LC_ALL=C git clone --quiet --filter=blob:none --sparse -c merge.stat=false \
        -c gc.autoPackLimit=10 -c fetch.unpackLimit=1 -- "$from" "$cloned/clone" 2>&1); then
        die "cannot clone $shown: $(reason "$said")" \
            'is the address right, and may this user read it?'
    fi
    case $said in
        *'filtering not recognized'*)
            say "$shown cannot leave old images out: this clone is a full one." \
                '(There: git config uploadpack.allowFilter true)'
            git -C "$cloned/clone" config --unset remote.origin.promisor
            git -C "$cloned/clone" config --unset remote.origin.partialclonefilter
            ;;
    esac
}

# The line of git's many that says why.
reason() {
    printf '%s\n' "$1" | sed -n 's/^fatal: //p; s/^ssh: //p' | head -n 1 | tr -cd '[:print:]' | masked
}

# Addresses without user and password, in which there may be @ and /: see masked in report.py.
masked() {
    sed -E 's,://([^/:[:space:]]*:.*|[^/[:space:]]*)@,://,g'
}

move_clone() {
    mkdir -p "$(dirname -- "$repository")"
    mv "$cloned/clone" "$repository"
    moved=1
}

check_places() {
    require_writable "$prefix"
    require_writable "$commands"
    for place in "$prefix/current" "$prefix/previous" "$prefix/bin/mirage-hooks" \
        "$commands/mirage-hooks"
    do
        require_ours "$place"
    done
    prefix_from=$(existing "$prefix")
    commands_from=$(existing "$commands")
}

# What is replaced, and removed when we uninstall, is nobody else's: $1, where it is there.
require_ours() {
    case $(readlink "$1" || true) in
        '') if [ ! -e "$1" ]; then return 0; fi ;;
        venv-* | ../current/bin/mirage-hooks | "$prefix/bin/mirage-hooks") return 0 ;;
        *) if [ ! -e "$1" ]; then return 0; fi ;;
    esac
    die "$1 is there and is not ours" 'move it away, or choose another place (--prefix)'
}

# The nearest folder above that is there.
existing() {
    folder=$1
    while [ ! -d "$folder" ]; do
        if [ -e "$folder" ]; then
            die "$folder is no folder" 'move it away, or choose another place (--prefix)'
        fi
        folder=$(dirname -- "$folder")
    done
    printf '%s' "$folder"
}

require_writable() {
    folder=$(existing "$1")
    if [ ! -w "$folder" ] || [ ! -x "$folder" ]; then
        die "no permission to write into $folder" \
            'run this as the user that owns it, or choose another place (--prefix)'
    fi
}

# pip builds below its source: give it a copy, so that a clone stays clean and may be read-only.
copy_source() {
    for part in setup.cfg pyproject.toml constraints.txt LICENSE DESCRIPTION.md mirage_hooks hooks; do
        if [ -e "$source/$part" ]; then cp -R "$source/$part" "$copy/"; fi
    done
    chmod -R u+w "$copy"
    find "$copy" -name __pycache__ -prune -exec rm -rf {} +
    stamp=$(cd "$copy" && "$python" -c '
import hashlib, pathlib, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL) # no traceback for Ctrl-C
digest = hashlib.sha256(repr((sys.version, sys.executable)).encode())
for path in sorted(p for p in pathlib.Path().rglob("*") if p.is_file()):
    digest.update(repr((str(path), path.read_bytes())).encode())
print(digest.hexdigest())')
}

up_to_date() {
    [ "$(cat "$prefix/current/mirage-hooks.stamp" 2>/dev/null)" = "$stamp" ] &&
        "$prefix/current/bin/python" -I -c 'import mirage_hooks' 2>/dev/null
}

build() {
    mkdir -p "$1"
    printf '%s\n' "$source" >"$1/mirage-hooks.source"
    say "Making a Python environment in $1 …"
    if ! "$python" -m venv "$1" >"$copy/venv.log" 2>&1; then
        tail -n 3 "$copy/venv.log" >&2
        die "$python could not make an environment" "is there room in $(dirname -- "$1")?"
    fi
    say 'Putting mirage-hooks and what it needs into it (about 15 s) …'
    # What comes from an index is what was looked at, byte for byte; and it is all there is.
    if ! { packages "$1" --require-hashes --requirement "$copy/constraints.txt" &&
        packages "$1" --no-deps --no-index --no-build-isolation "$copy"; } >"$copy/pip.log" 2>&1
    then
        tail -n 3 "$copy/pip.log" >&2
        die 'pip could not install mirage-hooks and what it needs' \
            'is the package index reachable? offline: PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER'
    fi
    printf '%s\n' "$stamp" >"$1/mirage-hooks.stamp"
}

# One retry: without a network a person should not wait for pip's five.
packages() {
    environment=$1
    shift
    PIP_RETRIES=${PIP_RETRIES:-1} "$environment/bin/python" -m pip install --quiet \
        --disable-pip-version-check --no-input "$@"
}

# What cron or the timer does from now on, once at once. (--adopt installs nothing that would.)
first_run() {
    if ! "$prefix/bin/mirage-hooks" -C "$repository" pull; then
        say "It is installed all the same. What is missing: mirage-hooks -C $repository check;" \
            "to try again: mirage-hooks -C $repository deploy"
    fi
}

# Commands in an environment name it by its path: so each has a folder of its own, and `current` is
# renamed over. What still runs from the one before goes on; the one before that is removed.
switch() {
    before=$(readlink "$prefix/current" || true)
    oldest=$(readlink "$prefix/previous" || true)
    if [ "$before" ]; then link "$before" "$prefix/previous"; fi
    link "$(basename "$venv")" "$prefix/current"
    switched=1
}

# This clone is pulled, and what came goes on in our place: its own install.sh knows best how.
bring_up_to_date() {
    require_installed
    if [ "${MIRAGE_HOOKS_PULLED-}" ]; then return 0; fi
    old=$(git -C "$source" rev-parse HEAD) ||
        die "$source is no clone that you may pull into" 'install from a clone: see docs/upgrading.md'
    if ! said=$(LC_ALL=C git -C "$source" pull --quiet --ff-only 2>&1); then
        die "cannot bring $source up to date: $(reason "$said")" \
            "nothing is changed; is a branch checked out there? git -C $source status"
    fi
    say "$("$prefix/bin/mirage-hooks" --version) is installed; in $source is commit" \
        "$(git -C "$source" log -1 --format='%h of %cs')."
    git -C "$source" diff "$old" HEAD -- CHANGELOG.md | sed -n 's/^+\([^+]\)/    \1/p' |
        LC_ALL=C tr -cd '\n\040-\176\200-\377'
    export MIRAGE_HOOKS_PULLED=1
    exec "$source/install.sh" --upgrade --prefix "$prefix"
}

require_installed() {
    if [ ! -x "$prefix/current/bin/mirage-hooks" ]; then
        die "mirage-hooks is not installed in $prefix" 'is it elsewhere? name it with --prefix'
    fi
}

# Call $@ with each repository that uses this installation.
each_repository() {
    if [ ! -e "$prefix/repositories" ]; then return 0; fi
    while IFS= read -r each <&3; do
        if [ -d "$each" ]; then "$@" "$each"; fi
    done 3<"$prefix/repositories"
}

# Whether the version in $1 finds $2 as well as the installed one does.
compare() {
    before_it=$(checked "$prefix/current" "$2")
    if [ "$(checked "$1" "$2")" -le "$before_it" ]; then return 0; fi
    "$1/bin/mirage-hooks" -C "$2" check 2>&1 | sed -n '/^ok /!p' >&2 || true
    die "the other version finds wrong in $2 what this one does not: all is left as it was" \
        'see CHANGELOG.md, and what it says above'
}

checked() {
    if "$1/bin/mirage-hooks" -C "$2" check >/dev/null 2>&1 3<&-; then echo 0; else echo $?; fi
}

again() { "$prefix/bin/mirage-hooks" install "$1" 3<&-; }

# `current` and `previous` change places. Killed between the two, the older version is installed.
go_back() {
    require_installed
    newer=$(readlink "$prefix/current")
    older=$(readlink "$prefix/previous" || true)
    if [ ! -x "$prefix/$older/bin/mirage-hooks" ] || [ ! "$older" ] || [ "$older" = "$newer" ]; then
        die "no other version is kept in $prefix" \
            "an older one is installed from the clone: git checkout VERSION, ./install.sh REPOSITORY"
    fi
    each_repository compare "$prefix/$older"
    link "$older" "$prefix/current"
    link "$newer" "$prefix/previous"
    each_repository again
    say "$("$prefix/bin/mirage-hooks" --version) from before is installed; forward again: mirage-hooks upgrade --back"
}

# What is installed and the one before stay; so does one that another run may be making now.
discard_old() {
    kept="$(readlink "$prefix/current") $(readlink "$prefix/previous" || true)"
    for each in "$prefix"/venv-*; do
        case " $kept " in *" ${each##*/} "*) continue ;; esac
        if [ "${each##*/}" = "${oldest-}" ] ||
            [ "$(find "$each/mirage-hooks.source" -mmin +60 2>/dev/null)" ]; then rm -rf "$each"; fi
    done
}

# A symbolic link $2 to $1, at once: at no moment is there none.
link() {
    if [ "$(readlink "$2" || true)" = "$1" ]; then return 0; fi
    "$python" -c 'import os, sys
text, place = sys.argv[1:]
fresh = f"{place}.{os.getpid()}"
os.symlink(text, fresh)
os.replace(fresh, place)' "$1" "$2"
}

interrupted() {
    if [ "${done-}" ]; then
        say 'Interrupted: it is installed all the same.'
    else
        printf 'install.sh: interrupted: all is left as it was\n' >&2
    fi
    exit 130
}

clean_up() {
    code=$?
    rm -rf "${copy-}"
    if [ "${cloned-}" ]; then rm -rf "$cloned"; fi
    if [ "${done-}" ]; then exit "$code"; fi
    if [ "${moved-}" ]; then
        rm -rf "$repository"
        remove_empty "$(dirname -- "$repository")" "$repository_from"
    fi
    if [ "${switched-}" ] && [ "$before" ]; then
        link "$before" "$prefix/current"
        if [ "$oldest" ]; then link "$oldest" "$prefix/previous"; else rm -f "$prefix/previous"; fi
    fi
    if [ "${venv-}" ]; then rm -rf "$venv"; fi
    if [ ! -e "$prefix/current" ]; then remove_links; fi
    exit "$code"
}

remove_links() {
    rm -f "$prefix/current" "$prefix/previous" "$prefix/bin/mirage-hooks"
    if [ "$(readlink "$commands/mirage-hooks" || true)" = "$prefix/bin/mirage-hooks" ]; then
        rm -f "$commands/mirage-hooks"
    fi
    remove_empty "$prefix/bin" "${prefix_from:-$(dirname -- "$prefix")}"
    if [ "${commands_from-}" ]; then remove_empty "$commands" "$commands_from"; fi
}

# The empty folder $1 and those above it, up to $2.
remove_empty() {
    folder=$1
    while [ "$folder" != "$2" ] && rmdir "$folder" 2>/dev/null; do
        folder=$(dirname -- "$folder")
    done
}

uninstall() {
    if [ ! -x "$prefix/bin/mirage-hooks" ]; then
        die "mirage-hooks is not installed in $prefix" 'is it elsewhere? name it with --prefix'
    fi
    set -- install --uninstall "$repository"
    if [ "$stop" ]; then set -- "$@" --stop; fi
    if [ "$purge" ]; then set -- "$@" --purge; fi
    "$prefix/bin/mirage-hooks" "$@"
    if [ -s "$prefix/repositories" ]; then
        say "Other repositories still use $prefix: it stays."
        return 0
    fi
    rm -f "$prefix/repositories"
    for venv in "$prefix"/venv-*; do
        if [ -f "$venv/mirage-hooks.stamp" ] || [ -f "$venv/mirage-hooks.source" ]; then rm -rf "$venv"; fi
    done
    remove_links
    say "$prefix is gone: no repository used it any more."
}

# A user number that neither accounts nor containers use (systemd's UIDS-GIDS document).
ORDINARY=1879048192

run_demo() {
    copy=$(mktemp -d "${TMPDIR:-/tmp}/mirage-hooks-demo-XXXXXX")
    trap 'rm -rf "$copy"' EXIT
    trap interrupted INT
    trap 'exit 143' TERM HUP
    if [ "$image" ] && ! cp -- "$image" "$copy/image"; then
        die "cannot read $image" 'name a unix/socket image'
    fi
    # pip's cache is in HOME, which a demo has no business with.
    export PIP_CACHE_DIR="$copy/cache" TMPDIR="$copy"
    if [ "$(id -u)" = 0 ]; then step_down; fi
    copy_source
    build "$copy/venv"
    set -- "$copy"
    if [ "$keep" ]; then set -- "$@" --keep; fi
    if [ "$image" ]; then set -- "$@" --image "$copy/image"; fi
    # From here on the demo itself cleans up: it also has to end what it started.
    "$copy/venv/bin/python" -I -c 'import signal
signal.signal(signal.SIGINT, signal.SIG_DFL)
import mirage_hooks.demo'
    set -- "$copy/venv/bin/python" -I -m mirage_hooks.demo "$@"
    if [ "$ordinary" ]; then
        chown -R "$ORDINARY:$ORDINARY" "$copy"
        export HOME="$copy/home"
        set -- setpriv --reuid="$ORDINARY" --regid="$ORDINARY" --clear-groups "$@"
    fi
    exec "$@"
}

# For root the demo runs under a user number of its own, as it does for everybody else: it needs
# no right of root's. Where no Python can be run by others, root's releases want bubblewrap.
step_down() {
    for other in "$python" /usr/bin/python3; do
        if setpriv --reuid="$ORDINARY" --regid="$ORDINARY" --clear-groups "$other" -c \
            'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            python=$other
            ordinary=1
            say "The demo needs no root: it runs as user number $ORDINARY."
            return 0
        fi
    done
    say "No other user may run $python: the demo runs as root, and wants bubblewrap."
}

main "$@"
