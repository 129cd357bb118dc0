package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// debian installs packages of Debian, and starts no service.
type debian struct {
	root string // where the system's files are, "/" but in tests
	run  func(ctx context.Context, args ...string) error
}

// denial is what Debian's packages are told when they ask whether they may start a
// service. It says whose it is, so that one that a killed run has left behind is
// found and removed by the next.
const denial = `#!/bin/sh
# deed's test command wrote this while it installs packages. It may be deleted.
exit 101
`

// denied is the exit code of a policy that forbids.
const denied = 101

// ready reports why packages cannot be installed here.
func (d debian) ready() error {
	if os.Geteuid() != 0 {
		return errors.New("only root can install packages")
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return errors.New("only Debian's packages are known, and here is no apt-get")
	}
	return nil
}

// install installs packages. Services that come with them, named with spaces between, are
// not started, now or with the machine; those that were there before stay as they are.
func (d debian) install(ctx context.Context, services string, packages []string) error {
	added := slices.DeleteFunc(strings.Fields(services), d.hasService)
	allow, err := d.denyServices(ctx, strings.Fields(services)[0])
	if err != nil {
		return err
	}
	err = d.apt(ctx, packages)
	for _, service := range added {
		if d.hasService(service) {
			err = errors.Join(err, d.disable(ctx, service))
		}
	}
	return errors.Join(err, allow())
}

// denyServices forbids packages to start a service until allow is called. A policy
// that is there already stays as it is: where it permits the service, the error says
// so.
func (d debian) denyServices(ctx context.Context, service string) (allow func() error, err error) {
	file := filepath.Join(d.root, "usr/sbin/policy-rc.d")
	old, err := os.ReadFile(file)
	if err == nil && string(old) != denial {
		var exit *exec.ExitError
		err := exec.CommandContext(ctx, file, service, "start").Run()
		if !errors.As(err, &exit) || exit.ExitCode() != denied {
			return nil, fmt.Errorf("%s, a policy of this machine, lets packages start %s", file, service)
		}
		return func() error { return nil }, nil
	}
	if err := os.WriteFile(file, []byte(denial), 0o755); err != nil {
		return nil, err
	}
	return func() error { return os.Remove(file) }, nil
}

// disable keeps a service from being started with the machine. One without a script for
// init is a unit of systemd, which may not be here to be asked: then what starts it is a
// link.
func (d debian) disable(ctx context.Context, service string) error {
	if d.has("etc/init.d/" + service) {
		return d.run(ctx, "update-rc.d", service, "disable")
	}
	links, err := filepath.Glob(filepath.Join(d.root, "etc/systemd/system/*.wants", service+".*"))
	for _, link := range links { // a socket would start it as well
		err = errors.Join(err, os.Remove(link))
	}
	return err
}

// hasService reports whether the machine knows a service, running or not.
func (d debian) hasService(service string) bool {
	return d.has("etc/init.d/"+service) || d.has("lib/systemd/system/"+service+".service")
}

func (d debian) has(file string) bool {
	_, err := os.Stat(filepath.Join(d.root, file))
	return !errors.Is(err, fs.ErrNotExist)
}

// apt installs packages. The list of what there is to install is fetched when it is
// absent, or too old to be of use.
func (d debian) apt(ctx context.Context, packages []string) error {
	install := slices.Concat([]string{"apt-get", "install", "-y", "-q", "--no-install-recommends",
		"-o", "DPkg::Lock::Timeout=300"}, packages)
	lists, err := filepath.Glob(filepath.Join(d.root, "var/lib/apt/lists/*Packages*"))
	if err == nil && len(lists) > 0 && d.run(ctx, install...) == nil {
		return nil
	}
	if err := d.run(ctx, "apt-get", "update", "-q"); err != nil {
		return err
	}
	return d.run(ctx, install...)
}

// runSystem runs a command of the system. Its error holds what the command said. When
// ctx ends, the command is asked to end, and waited for: half an installation is worse
// than a late end.
func runSystem(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1", "LC_ALL=C")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}
