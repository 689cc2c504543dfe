#!/bin/sh
exec /sbin/modprobe -d /run/modules "$@"
