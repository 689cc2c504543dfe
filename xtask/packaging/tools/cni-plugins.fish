# Completion of cni-plugins in fish.

complete -c cni-plugins -f
complete -c cni-plugins -n __fish_use_subcommand -a install -d 'Install this program under the names of all plugins'
complete -c cni-plugins -n __fish_use_subcommand -a rollback -d 'Undo the last change by install'
complete -c cni-plugins -n __fish_use_subcommand -a uninstall -d 'Remove what was installed'
complete -c cni-plugins -n __fish_use_subcommand -a list -d 'Print the names of the plugins'
complete -c cni-plugins -n __fish_use_subcommand -a version -d 'Print the version'
complete -c cni-plugins -n __fish_use_subcommand -a help -d 'Print a summary of the commands'

set -l changes '__fish_seen_subcommand_from install rollback uninstall'
set -l installs '__fish_seen_subcommand_from install'
complete -c cni-plugins -n $changes -l dest -x -a '(__fish_complete_directories)' -d 'Directory of the plugins'
complete -c cni-plugins -n $installs -l skip -x -a '(cni-plugins list 2>/dev/null)' -d 'Plugin to skip'
complete -c cni-plugins -n $installs -l update -d 'Replace other versions of this program'
complete -c cni-plugins -n $installs -l replace-foreign -d 'Replace other files'
complete -c cni-plugins -n $installs -l stay -d 'Wait for SIGTERM afterwards'
