# Completion of cni-plugins in bash.

_cni_plugins() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    if [ "$COMP_CWORD" = 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "install rollback uninstall list version help" -- "$word")
        return
    fi
    case $before in
        --dest) mapfile -t COMPREPLY < <(compgen -d -- "$word") ;;
        --skip) mapfile -t COMPREPLY < <(compgen -W "$(cni-plugins list 2>/dev/null)" -- "$word") ;;
        *)
            local options=
            case ${COMP_WORDS[1]} in
                install) options="--dest --skip --update --replace-foreign --stay" ;;
                rollback | uninstall) options="--dest" ;;
            esac
            mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
            ;;
    esac
}

complete -o filenames -F _cni_plugins cni-plugins
