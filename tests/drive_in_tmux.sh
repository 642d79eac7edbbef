#!/usr/bin/env bash
# Drives the installed `ptune` in tmux at 80x24, as a user does: every place, a resize, the end.
#
#     tests/drive_in_tmux.sh [PTUNE]
set -euo pipefail

ptune=${1:-ptune}
home=$(mktemp -d)
socket="ptune-$$"
shell_pane() { tmux -L "$socket" "$@"; }
finish() {
    shell_pane kill-server 2>/dev/null || true
    rm -rf "$home"
}
trap finish EXIT

screen() { shell_pane capture-pane -p -t app; }

# Waits until a text stands on the screen.
see() {
    for _ in $(seq 600); do
        if screen | grep -qF -- "$1"; then
            return 0
        fi
        sleep 0.1
    done
    echo "not seen within a minute: $1" >&2
    screen >&2
    exit 1
}

press() { shell_pane send-keys -t app "$@"; }

shell_pane -f /dev/null new-session -d -s app -x 80 -y 24 \
    "env PTUNE_HOME='$home' HF_HUB_OFFLINE=1 PS1='left in order> ' sh"
see 'left in order>'
press 'stty -a > '"$home"'/before; '"$ptune"'; echo "exit code $?"; stty -a > '"$home"'/after' Enter

# A new user begins in Setup; each place has a key, and says what to do where it is empty.
see 'Start training'
press F10
see 'No runs yet.'
press F3
see 'No run yet.'
press F4
see '[4 Compare]'
press F9
see 'No bundle yet.'
press F12
see 'No run to export yet.'
press F1
see 'Escape closes'
press Escape

# Too small, and back.
shell_pane resize-window -t app -x 50 -y 15
see 'This terminal is 50 x 15; ptune needs 60 x 20.'
shell_pane resize-window -t app -x 80 -y 24
see 'No run to export yet.'

# What is written into a field is there when one comes back to it.
press F2
see 'Start training'
press q
see 'exit code 0'
see 'left in order>'
for _ in $(seq 100); do
    if [ -s "$home/after" ]; then break; fi
    sleep 0.1
done
diff "$home/before" "$home/after"
if [ "$(shell_pane display-message -p -t app '#{alternate_on}#{mouse_any_flag}#{cursor_flag}')" != 001 ]; then
    echo 'the terminal is left on its second screen, or with the mouse taken, or without a cursor' >&2
    exit 1
fi
echo "tmux: every place, a resize and the end: all as they should be"
