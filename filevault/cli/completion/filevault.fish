# Completion of filevault in fish. fish quotes what it inserts.
function __filevault_complete
    set -l before (commandline -opc)
    set -l typed (commandline -ct)
    set -l current (string unescape -- $typed)
    or set current ''
    set -l words $before
    set -e words[1]
    set -l answer (command filevault __complete fish $words "$current" 2>/dev/null </dev/null)
    set -l prefix (string match -r -- '^--[^=]*=' "$current")
    set -l kind $answer[1]
    set -e answer[1]
    switch "$kind"
        case words
            test -n "$answer"; and printf '%s\n' $answer
        case files
            for path in (__fish_complete_path (string replace -r -- '^--[^=]*=' '' "$current"))
                printf '%s%s\n' "$prefix" $path
            end
        case folders
            test -n "$answer"; and printf '%s\n' $answer
            for path in (__fish_complete_directories (string replace -r -- '^--[^=]*=' '' "$current") '')
                printf '%s%s\n' "$prefix" $path
            end
        case 'command *'
            set -l index (string replace 'command ' '' -- $kind)
            set -l command
            if test $index -lt (count $before)
                set command (string escape -- $before[(math $index + 1)..-1])
            end
            complete -C (string join ' ' -- $command $typed)
    end
end
complete -c filevault -f -k -a '(__filevault_complete)'
