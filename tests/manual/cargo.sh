#!/bin/sh
# Stands for `cargo` and for `embosk` where the manual's commands are run: `cargo embosk` is the built program, in runs
# that take seconds. An inconclusive report or verdict is no failure: the samples are tiny.
set -u
if [ "$(basename "$0")" = cargo ]; then
    [ "$1" = embosk ] || { echo "cargo $1 is not for these tests" >&2; exit 64; }
    shift
fi

# What is added unless the command has it: add OPTION VALUE
add() {
    case " $line " in *" $1 "*) ;; *) set_aside="$set_aside $1 $2" ;; esac
}

verb=$1 line=$* set_aside=
case $verb in
evaluate | curve | recommend)
    add --samples 4
    add --guess-candidates 8
    case $line in *--texts* | *--corpus*) ;; *) add --corpus records:100 ;; esac
    case $line in
    *"--attack none"* | *"--vectors "*) ;;
    *)
        add --adversary naive
        add --steps 0
        add --beam-width 1
        add --local-queries 0
        add --queries 10
        add --attacker-corpus own-texts.txt
        ;;
    esac
    ;;
serve)
    # until it says where it listens
    add --listen 127.0.0.1:0
    "$EMBOSK" "$@" $set_aside >listens.txt &
    server=$!
    for _ in $(seq 300); do
        grep -q /v1 listens.txt && { kill "$server"; exit 0; }
        kill -0 "$server" || exit 1
        sleep 0.1
    done
    echo "the sidecar does not say where it listens" >&2
    kill "$server"
    exit 1
    ;;
esac
"$EMBOSK" "$@" $set_aside
code=$?
case $verb:$code in
evaluate:3 | curve:3 | recommend:3 | recommend:1 | gate:3 | gate:1) exit 0 ;;
*) exit "$code" ;;
esac
