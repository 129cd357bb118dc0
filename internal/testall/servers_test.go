package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// machine is a small Debian: its commands are noted, and some of them do something.
type machine struct {
	t        *testing.T
	root     string
	commands []string
	fail     string // a prefix of commands that fail, once
	brings   []string
}

func newMachine(t *testing.T, files ...string) *machine {
	m := &machine{t: t, root: t.TempDir()}
	for _, dir := range []string{"usr/sbin", "etc/init.d", "var/lib/apt/lists"} {
		if err := os.MkdirAll(filepath.Join(m.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range files {
		m.write(file, "")
	}
	return m
}

func (m *machine) write(file, text string) {
	m.t.Helper()
	file = filepath.Join(m.root, file)
	err := os.MkdirAll(filepath.Dir(file), 0o755)
	if err == nil {
		err = os.WriteFile(file, []byte(text), 0o755)
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

const policy = "usr/sbin/policy-rc.d"

// run wants that no command runs while services may be started.
func (m *machine) run(_ context.Context, args ...string) error {
	line := strings.Join(args, " ")
	m.commands = append(m.commands, line)
	var exit *exec.ExitError
	err := exec.Command(filepath.Join(m.root, policy), "moond", "start").Run()
	if !errors.As(err, &exit) || exit.ExitCode() != denied {
		m.t.Errorf("%s: the policy says %v", line, err)
	}
	if m.fail != "" && strings.HasPrefix(line, m.fail) {
		m.fail = ""
		return errors.New("no such luck")
	}
	if strings.HasPrefix(line, "apt-get install") {
		for _, file := range m.brings {
			m.write(file, "")
		}
	}
	return nil
}

func TestInstall(t *testing.T) {
	const (
		list    = "var/lib/apt/lists/moon_Packages"
		service = "etc/init.d/moond"
		install = "apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 moon moon-tools"
		update  = "apt-get update -q"
		disable = "update-rc.d moond disable"
		unit    = "lib/systemd/system/moond.service"
		link    = "etc/systemd/system/multi-user.target.wants/moond.service"
		socket  = "etc/systemd/system/sockets.target.wants/tide.socket"
	)
	for _, c := range []struct {
		name   string
		has    []string
		brings []string
		fail   string
		want   []string
		err    string
	}{
		{name: "fresh", brings: []string{service}, want: []string{update, install, disable}},
		{name: "with a list", has: []string{list}, brings: []string{service}, want: []string{install, disable}},
		{name: "with an old list", has: []string{list}, brings: []string{service}, fail: install,
			want: []string{install, update, install, disable}},
		{name: "a service that was there", has: []string{list, service}, want: []string{install}},
		{name: "a unit of systemd alone", has: []string{list}, brings: []string{unit, link}, want: []string{install}},
		{name: "with a socket, and a second service", has: []string{list},
			brings: []string{service, "lib/systemd/system/tide.service", socket},
			want:   []string{install, disable}},
		{name: "no service", has: []string{list}, want: []string{install}},
		{name: "no network", fail: update, want: []string{update}, err: "no such luck"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t, c.has...)
			m.brings, m.fail = c.brings, c.fail
			err := debian{m.root, m.run}.install(t.Context(), "moond tide", []string{"moon", "moon-tools"})
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %v, want %q", err, c.err)
			}
			if !slices.Equal(m.commands, c.want) {
				t.Errorf("ran %q, want %q", m.commands, c.want)
			}
			for _, file := range []string{policy, link, socket} {
				if _, err := os.Stat(filepath.Join(m.root, file)); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s stays: %v", file, err)
				}
			}
		})
	}
}

func TestInstallUnderPolicy(t *testing.T) {
	for _, c := range []struct {
		name, policy string
		stays        bool
		err          string
	}{
		{name: "that forbids", policy: "#!/bin/sh\nexit 101\n", stays: true},
		{name: "that permits", policy: "#!/bin/sh\nexit 0\n", stays: true, err: "lets packages start moond"},
		{name: "that leaves it to others", policy: "#!/bin/sh\nexit 104\n", stays: true, err: "lets packages start moond"},
		{name: "that a killed run left", policy: denial},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			m.write(policy, c.policy)
			err := debian{m.root, m.run}.install(t.Context(), "moond", []string{"moon"})
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %v, want %q", err, c.err)
			}
			if installed := len(m.commands) > 0; installed != (c.err == "") {
				t.Errorf("ran %q", m.commands)
			}
			text, err := os.ReadFile(filepath.Join(m.root, policy))
			if c.stays && string(text) != c.policy || !c.stays && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the policy afterwards: %q, %v", text, err)
			}
		})
	}
}

func TestProvideServers(t *testing.T) {
	t.Setenv("DEED_TEST_MOON", "somewhere")
	m := newMachine(t, "moon-15")
	system := debian{m.root, m.run}
	absent := program{"deed-has-no-moon", "moon", ""}
	for _, c := range []struct {
		name     string
		programs []program
		want     string
	}{
		{"on PATH", []program{{"go", "golang", ""}}, ""},
		{"named by a variable", []program{{"deed-has-no-moon", "moon", "DEED_TEST_MOON"}}, ""},
		{"by a pattern", []program{{filepath.Join(m.root, "moon-*"), "moon", ""}}, ""},
		{"absent", []program{{"go", "golang", ""}, absent}, "*** WITHOUT Moon"},
		{"absent by a pattern", []program{{filepath.Join(m.root, "sun-*"), "sun", ""}}, "*** WITHOUT Moon"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			provideServers(t.Context(), &out, []server{{"Moon", "moond", c.programs}}, system)
			if (out.Len() == 0) != (c.want == "") || !strings.Contains(out.String(), c.want) {
				t.Errorf("says %q, want %q", out.String(), c.want)
			}
		})
	}
	if system.ready() != nil {
		return // nothing can have been installed
	}
	ran := strings.Join(m.commands, "\n")
	if !strings.Contains(ran, " moon") || strings.Contains(ran, "golang") {
		t.Errorf("ran %q, want moon installed and golang not", m.commands)
	}
}

// TestSystemSpeaks wants what a command said in its error.
func TestSystemSpeaks(t *testing.T) {
	err := runSystem(t.Context(), "sh", "-c", "echo $DEBIAN_FRONTEND; echo the moon is out >&2; exit 3")
	if err == nil || !strings.Contains(err.Error(), "exit status 3\nnoninteractive\nthe moon is out") {
		t.Errorf("got %v", err)
	}
}
