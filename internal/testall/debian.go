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
	"strings"
)

// policyFile is the program that Debian's packages ask before they start a service.
const policyFile = "/usr/sbin/policy-rc.d"

// denial is our answer. It says whose it is, so that one that a killed run has left
// behind is found and removed by the next.
const denial = `#!/bin/sh
# deed's test command wrote this while it installs packages. It may be deleted.
exit 101
`

// denied is the exit code of a policy that forbids.
const denied = 101

// denyServices forbids packages to start a service until allow is called. A policy
// that is there already stays as it is: where it permits the service, the error says
// so.
func denyServices(ctx context.Context, file, service string) (allow func() error, err error) {
	if old, err := os.ReadFile(file); err == nil && string(old) != denial {
		var exit *exec.ExitError
		err := exec.CommandContext(ctx, file, service, "start").Run()
		if !errors.As(err, &exit) || exit.ExitCode() != denied {
			return nil, fmt.Errorf("the policy in %s lets packages start services", file)
		}
		return func() error { return nil }, nil
	}
	// The mode has to be right at once: a policy that cannot be run is none.
	if err := os.WriteFile(file, []byte(denial), 0o755); err != nil {
		return nil, err
	}
	return func() error { return os.Remove(file) }, os.Chmod(file, 0o755)
}

// hasService reports whether the machine knows a service, running or not.
func hasService(service string) bool {
	for _, file := range []string{"/etc/init.d/" + service, "/lib/systemd/system/" + service + ".service"} {
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

// aptInstall installs packages. A list of packages that is absent, or too old to
// find them, is renewed.
func aptInstall(ctx context.Context, packages []string) error {
	install := append([]string{"apt-get", "install", "-y", "-q", "--no-install-recommends",
		"-o", "DPkg::Lock::Timeout=300"}, packages...)
	if known, _ := filepath.Glob("/var/lib/apt/lists/*Packages*"); len(known) > 0 {
		if err := system(ctx, install...); err == nil {
			return nil
		}
	}
	if err := system(ctx, "apt-get", "update", "-q"); err != nil {
		return err
	}
	return system(ctx, install...)
}

// system runs a command of the system, and returns what it said when it fails.
func system(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}
