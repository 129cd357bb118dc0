package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// server is a program that tests start, each with its own port and data directory.
type server struct {
	name     string
	programs []string // on PATH, or there is no server
	packages []string // of Debian, which bring the programs
	service  string   // the system service that the packages bring, which nobody asked for
	variable string   // names a program elsewhere, for the tests
}

var servers = []server{
	{"Redis", []string{"redis-server", "redis-cli"}, []string{"redis-server", "redis-tools"}, "redis-server",
		"DEED_TEST_REDIS_SERVER"},
}

// missing returns the programs that are not there.
func (s server) missing() (names []string) {
	for _, program := range s.programs {
		if _, err := exec.LookPath(program); err != nil {
			names = append(names, program)
		}
	}
	return names
}

// provideServers installs the servers that are missing, where that is possible, and
// says loudly what it does and what stays missing. Tests without their server are
// skipped, or fail where everything is required.
func provideServers(ctx context.Context, out io.Writer) {
	for _, s := range servers {
		missing := s.missing()
		if len(missing) == 0 || os.Getenv(s.variable) != "" {
			continue
		}
		err := canInstall()
		if err == nil {
			fmt.Fprintf(out, "\n  *** INSTALLING %s: %s not on PATH. Debian packages: %s; no service is started.\n",
				s.name, strings.Join(missing, ", "), strings.Join(s.packages, " "))
			err = install(ctx, s)
		}
		if err != nil {
			fmt.Fprintf(out, "\n  *** WITHOUT %s: its tests are skipped, or fail under DEED_TEST_REQUIRE=all.\n"+
				"  *** %s not on PATH, and not installed: %v\n\n", s.name, strings.Join(missing, ", "), err)
			continue
		}
		fmt.Fprintf(out, "  *** INSTALLED %s\n\n", s.name)
	}
}

// canInstall reports why packages cannot be installed here.
func canInstall() error {
	if os.Geteuid() != 0 {
		return errors.New("only root can install packages")
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return errors.New("only Debian's packages are known, and here is no apt-get")
	}
	return nil
}

// install installs a server's packages without starting its service, now or when the
// machine starts.
func install(ctx context.Context, s server) error {
	had := hasService(s.service)
	allow, err := denyServices(ctx, policyFile, s.service)
	if err != nil {
		return err
	}
	err = aptInstall(ctx, s.packages)
	if err == nil && !had {
		err = system(ctx, "update-rc.d", s.service, "disable")
	}
	if err := errors.Join(err, allow()); err != nil {
		return err
	}
	if missing := s.missing(); len(missing) > 0 {
		return fmt.Errorf("the packages brought no %s", strings.Join(missing, ", "))
	}
	return nil
}
