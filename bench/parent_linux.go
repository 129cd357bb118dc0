package main

import (
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// endsWithParent lets a server end with this process, however that ends.
func endsWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// unprivileged lets a command run as nobody where this process is root, which Postgres
// refuses, and end with this process.
func unprivileged(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = endsWithParent()
	if uid, gid, ok := nobody(); ok {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	return cmd
}

// giveAway makes a directory nobody's, where unprivileged commands are.
func giveAway(dir string) error {
	uid, gid, ok := nobody()
	if !ok {
		return nil
	}
	return os.Chown(dir, uid, gid)
}

func nobody() (uid, gid int, ok bool) {
	u, err := user.Lookup("nobody")
	if os.Getuid() != 0 || err != nil {
		return 0, 0, false
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	return uid, gid, err1 == nil && err2 == nil
}
