# Configures a root whose packages are all unpacked. Runs as administrator, as the root's own first process.
info=/var/lib/dpkg/info

# No service is started or stopped: there is nothing here that could serve (invoke-rc.d(8)).
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d

export DPKG_ROOT= DPKG_MAINTSCRIPT_NAME=preinst DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1 PERL_DL_NONLAZY=1
DPKG_RUNNING_VERSION=$(dpkg-query -W -f '${Version}' dpkg)
export DPKG_RUNNING_VERSION

# As dpkg calls it. debconf knows whose questions it is asked by what lies in `tmp.ci`.
preinst() {
    test -f "$info/$1.preinst" || return 0
    mkdir /var/lib/dpkg/tmp.ci
    for kind in preinst config templates; do
        test ! -f "$info/$1.$kind" || cp -p "$info/$1.$kind" "/var/lib/dpkg/tmp.ci/$kind"
    done
    echo "Package: ${1%:*}" > /var/lib/dpkg/tmp.ci/control
    DPKG_MAINTSCRIPT_PACKAGE=${1%:*} DPKG_MAINTSCRIPT_ARCH=$2 \
        /var/lib/dpkg/tmp.ci/preinst install < /dev/null || {
        echo "package $1: preinst install failed with exit status $?" >&2
        exit 1
    }
    rm -r /var/lib/dpkg/tmp.ci
}

# It makes /etc/passwd and /etc/group, which the others may ask.
preinst base-passwd "$(dpkg --print-architecture)"
packages=$(dpkg-query -W -f '${binary:Package} ${Architecture}\n')
while read -r package arch; do
    test "$package" = base-passwd || preinst "$package" "$arch"
done <<END
$packages
END
unset DPKG_MAINTSCRIPT_NAME DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT DPKG_RUNNING_VERSION PERL_DL_NONLAZY

# Others take for granted that essential packages work, and say no dependency on them (policy 3.8).
essential=$(dpkg-query -W -f '${Essential} ${binary:Package}\n' | sed -n 's/^yes //p')
test -z "$essential" || dpkg --configure --no-triggers --force-depends $essential
dpkg --configure -a

rm /usr/sbin/policy-rc.d
left=$(dpkg-query -W -f '${db:Status-Abbrev} ${binary:Package}\n' | grep -v '^ii ' || true)
test -z "$left" || {
    echo "not configured: $left" >&2
    exit 1
}
