package cli

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// magics are the file systems that matter, by the number that statfs gives.
var magics = map[int64]disk{
	0x6969:     {kind: "nfs", network: true},
	0x517b:     {kind: "smb", network: true},
	0xfe534d42: {kind: "smb2", network: true},
	0xff534d42: {kind: "cifs", network: true},
	0x5346414f: {kind: "afs", network: true},
	0x00c36400: {kind: "ceph", network: true},
	0x0bd00bd0: {kind: "lustre", network: true},
	0x47504653: {kind: "gpfs", network: true},
	0x01161970: {kind: "gfs2", network: true},
	0x7461636f: {kind: "ocfs2", network: true},
	0x73757245: {kind: "coda", network: true},
	0x01021997: {kind: "9p", network: true},
	0x786f4256: {kind: "vboxsf", network: true},
	0x01021994: {kind: "tmpfs", volatile: true},
	0x858458f6: {kind: "ramfs", volatile: true},
	0x65735546: {kind: "fuse"},
	0xef53:     {kind: "ext4"},
	0x58465342: {kind: "xfs"},
	0x9123683e: {kind: "btrfs"},
	0x2fc12fc1: {kind: "zfs"},
	0x794c7630: {kind: "overlay"},
}

func diskOf(dir string) (disk, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return disk{}, fmt.Errorf("statfs: %w", err)
	}
	d := magics[int64(fs.Type)&0xffffffff]
	d.free = int64(fs.Bavail) * int64(fs.Bsize)
	return d, nil
}

// lockHolder names the process that has a file locked, from what the kernel tells.
func lockHolder(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return "a process"
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "a process"
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return "a process"
	}
	pid := holderIn(locks, stat.Ino)
	if pid == 0 {
		return "a process that is not to be seen from here (of another container, maybe)"
	}
	return describeProcess(pid)
}

// holderIn finds the owner of a write lock on an inode in the text of /proc/locks:
//
//	1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF
//	1: -> FLOCK  ADVISORY  WRITE 1235 08:01:5678 0 EOF    (waits for it)
func holderIn(locks []byte, inode uint64) int {
	for line := range bytes.Lines(locks) {
		f := strings.Fields(string(line))
		if len(f) < 6 || f[1] != "FLOCK" || f[3] != "WRITE" {
			continue
		}
		if !strings.HasSuffix(f[5], ":"+strconv.FormatUint(inode, 10)) {
			continue
		}
		if pid, err := strconv.Atoi(f[4]); err == nil && pid > 0 {
			return pid
		}
	}
	return 0
}

// describeProcess is "process 1234 (billing, stopped)".
func describeProcess(pid int) string {
	name := fmt.Sprintf("process %d", pid)
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return name
	}
	// 1234 (a name) T …: the name may hold anything, so it ends at the last bracket.
	text := string(stat)
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || end < open || len(text) < end+3 {
		return name
	}
	state := map[byte]string{
		'T': "stopped", 't': "stopped by a debugger", 'D': "waiting for the disk", 'Z': "ended", 'R': "running",
	}[text[end+2]]
	if state == "" {
		state = "alive"
	}
	return fmt.Sprintf("%s (%s, %s)", name, plain(text[open+1:end]), state)
}
