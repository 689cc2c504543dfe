#compdef cni-plugins

local -a commands
commands=(
    'install:install this program under the names of all plugins'
    'rollback:undo the last change by install'
    'uninstall:remove what was installed'
    'list:print the names of the plugins'
    'version:print the version'
    'help:print a summary of the commands'
)

if (( CURRENT == 2 )); then
    _describe command commands
    return
fi
case $words[2] in
    install)
        _arguments \
            '--dest[directory of the plugins]:directory:_files -/' \
            '*--skip[plugin to skip]:plugin:($(cni-plugins list 2>/dev/null))' \
            '--update[replace other versions of this program]' \
            '--replace-foreign[replace other files]' \
            '--stay[wait for SIGTERM afterwards]'
        ;;
    rollback | uninstall)
        _arguments '--dest[directory of the plugins]:directory:_files -/'
        ;;
esac
