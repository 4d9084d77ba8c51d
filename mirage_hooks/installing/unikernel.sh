#!/bin/sh
# The resource agent ocf:mirage-hooks:unikernel; `mirage-hooks install --pacemaker` puts it in place.
# OCF's exit codes: 3 there is no such action, 5 what it needs is not on this host.

python=@PYTHON@

# No parameter can be reloaded, so reload-agent is not told: the ra-api-1.dtd by which ocf-tester
# judges has no word for it, nor for unique-group; and `unique` would be of each parameter alone.
meta_data() {
    cat <<'END'
<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
<resource-agent name="unikernel" version="@VERSION@">
<version>1.1</version>
<longdesc lang="en">
A MirageOS unikernel that mirage-hooks deploys from a git repository. On every host of the cluster
mirage-hooks makes each new image ready: unpacked, planned, proved. This agent starts what is ready,
ends it, and looks whether it runs; a new image takes over without it. mirage.yml of each host must
say `placement: pacemaker` for it.
</longdesc>
<shortdesc lang="en">A MirageOS unikernel, deployed by git</shortdesc>
<parameters>
<parameter name="repository" required="1">
<longdesc lang="en">The deployment repository on each host, as an absolute path.</longdesc>
<shortdesc lang="en">deployment repository</shortdesc>
<content type="string"/>
</parameter>
<parameter name="name" required="1">
<longdesc lang="en">The name of the unikernel in mirage.yml.</longdesc>
<shortdesc lang="en">name in mirage.yml</shortdesc>
<content type="string"/>
</parameter>
</parameters>
<actions>
<action name="start" timeout="120s"/>
<action name="stop" timeout="120s"/>
<action name="monitor" depth="0" timeout="60s" interval="10s"/>
<action name="monitor" depth="10" timeout="60s" interval="30s"/>
<action name="validate-all" timeout="20s"/>
<action name="meta-data" timeout="5s"/>
</actions>
</resource-agent>
END
}

case ${1-} in
    meta-data) meta_data && exit ;;
    start | stop | monitor | status | validate-all | reload-agent) ;;
    *) exit 3 ;;
esac
[ -x "$python" ] || exit 5
"$python" -I -m mirage_hooks ocf "$1"
code=$?
# That is a fault of ours there, and no such action here.
[ "$code" != 3 ] || code=1
exit "$code"
