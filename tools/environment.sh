# shellcheck shell=bash
# The set-up of tools/bench, tools/demo and tools/test, which source this file. It changes to the
# directory of the checkout, and installs only what is missing.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly ENVIRONMENT=.venv
readonly EXTRAS=docs,lab,postgresql,test
readonly PYTHONS=(3.11 3.12 3.13)

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }
fail() { say "$@"; exit 1; }

# The prefix of commands that need root: empty, or sudo.
AS_ROOT=()
if [[ $EUID -ne 0 ]]; then
    AS_ROOT=(sudo --non-interactive)
fi

check_root() {
    if [[ $EUID -ne 0 ]] && ! "${AS_ROOT[@]}" true 2>/dev/null; then
        fail "needs root: it attaches and mounts volumes. Run it as root, or allow" \
            "$(id --user --name) to use sudo without a password."
    fi
}

# Whether a package with these profiles of bindep.txt is in one of the wanted profiles.
is_wanted() {
    local profiles=$1 profile
    shift
    [[ -n $profiles ]] || return 0
    for profile in "$@"; do
        [[ " ${profiles//[][]/ } " != *" $profile "* ]] || return 0
    done
    return 1
}

# The packages of bindep.txt that are not installed; the arguments are the wanted profiles.
missing_packages() {
    local package profiles
    while read -r package profiles; do
        [[ -n $package && $package != \#* ]] || continue
        is_wanted "$profiles" "$@" || continue
        if [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) \
            != installed ]]; then
            printf '%s ' "$package"
        fi
    done <bindep.txt
}

# Install the packages of bindep.txt; the arguments are the wanted profiles.
install_packages() {
    local missing apt
    if ! command -v dpkg-query >/dev/null; then
        say "this is not Debian: make sure that the packages of bindep.txt are installed"
        return
    fi
    read -ra missing <<<"$(missing_packages "$@")"
    [[ ${#missing[@]} -gt 0 ]] || return 0
    check_root
    say "installing the packages ${missing[*]}"
    apt=("${AS_ROOT[@]}" env DEBIAN_FRONTEND=noninteractive
        apt-get -qq --option DPkg::Lock::Timeout=120)
    # A source that cannot be reached may have none of these packages.
    "${apt[@]}" update || say "apt-get update failed; trying with the existing lists"
    "${apt[@]}" install --yes --no-install-recommends "${missing[@]}" >/dev/null ||
        fail "apt-get could not install ${missing[*]}"
}

# Every interpreter of Python X.Y: those on the PATH, and those of pyenv, if it is installed. Its
# commands on the PATH run only the selected version.
candidates() {
    type -aP "python$1" || true
    if command -v pyenv >/dev/null; then
        printf '%s\n' "$(pyenv root)/versions/$1".*/bin/python"$1"
    fi
}

# The first interpreter of Python X.Y that runs, and can make environments.
find_python() {
    local python
    while read -r python; do
        if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
            printf '%s\n' "$python"
            return
        fi
    done < <(candidates "$1")
    return 1
}

# The machine's own Python 3 if it is new enough, else any other that is.
main_python() {
    local version
    if python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        command -v python3
        return
    fi
    for version in "${PYTHONS[@]}"; do
        if find_python "$version"; then
            return
        fi
    done
    fail "no Python ${PYTHONS[0]} or newer with venv and ensurepip is installed"
}

# Make the virtual environment, unless it exists and nothing that it depends on has changed.
make_environment() {
    local python stamp wanted
    python=$(main_python)
    stamp=$ENVIRONMENT/made-from
    wanted=$({
        "$python" -c 'import sys; print(sys.version, sys.base_prefix)'
        echo "$EXTRAS $PWD"
        cat setup.cfg pyproject.toml
    } | sha256sum)
    if [[ -f $stamp && $(<"$stamp") == "$wanted" ]]; then
        return
    fi
    say "making the virtual environment $ENVIRONMENT with $("$python" --version); this takes minutes"
    rm -rf "$ENVIRONMENT"
    "$python" -m venv "$ENVIRONMENT"
    "$ENVIRONMENT/bin/python" -m pip install --quiet --disable-pip-version-check \
        --editable ".[$EXTRAS]" || fail "pip could not install volflow and its dependencies"
    printf '%s\n' "$wanted" >"$stamp"
}
