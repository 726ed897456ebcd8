#compdef filevault
# Completion of filevault in zsh. compadd quotes what it inserts.
_filevault() {
    local -a answer values shown
    local line kind
    answer=("${(@f)$(command filevault __complete zsh \
        "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null </dev/null)}")
    kind=${answer[1]}
    [[ $kind != command\ * && $PREFIX == --*=* ]] && compset -P 1 '*='
    case $kind in
        words)
            for line in "${(@)answer[2,-1]}"; do
                [[ -n $line ]] || continue
                values+=("${line%%$'\t'*}")
                shown+=("${line/$'\t'/  -- }")
            done
            if [[ ${(F)answer} == *$'\t'* ]]; then
                compadd -l -V filevault -d shown -a values
            else
                compadd -V filevault -a values
            fi
            ;;
        files) _files ;;
        folders)
            values=("${(@)answer[2,-1]}")
            (($#values)) && compadd -V filevault -a values
            _files -/
            ;;
        command\ *)
            shift ${kind#command } words
            ((CURRENT -= ${kind#command }))
            _normal
            ;;
        *) return 1 ;;
    esac
}
if [[ $funcstack[1] == _filevault ]]; then
    _filevault "$@"
else
    compdef _filevault filevault
fi
