# Completion of filevault in bash 4.4 and later. What is inserted comes quoted from filevault.
_filevault() {
    local -a answer=()
    local kind
    mapfile -t answer < <(command filevault __complete bash \
        "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null </dev/null)
    kind=${answer[0]-}
    COMPREPLY=()
    case $kind in
        words)
            compopt -o nosort 2>/dev/null
            COMPREPLY=("${answer[@]:1}")
            ;;
        files) compopt -o default ;;
        folders)
            COMPREPLY=("${answer[@]:1}")
            compopt -o plusdirs
            ;;
        command\ *)
            kind=${kind#command }
            if declare -F _comp_command_offset >/dev/null; then
                _comp_command_offset "$kind"
            elif declare -F _command_offset >/dev/null; then
                _command_offset "$kind"
            elif ((COMP_CWORD == kind)) && [[ ${COMP_WORDS[COMP_CWORD]} != */* ]]; then
                mapfile -t COMPREPLY < <(compgen -c -- "${COMP_WORDS[COMP_CWORD]}")
            else
                compopt -o default
            fi
            ;;
    esac
}
complete -F _filevault filevault
