package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// server is what tests start, each for itself, with its own port and data directory.
type server struct {
	name     string
	service  string // the system services that Debian's packages bring, and nobody asked for
	programs []program
}

// program is a part of a server.
type program struct {
	name     string // on PATH, or a pattern of paths where there is a slash
	pack     string // Debian's package that brings it
	variable string // of the environment: may name the program instead
}

// servers lists what the tests want.
var servers = []server{
	{"Redis", "redis-server", []program{
		{"redis-server", "redis-server", "DEED_TEST_REDIS_SERVER"},
		{"redis-cli", "redis-tools", ""},
	}},
	{"Postgres", "postgresql", []program{
		{"/usr/lib/postgresql/*/bin/postgres", "postgresql-15", "DEED_TEST_POSTGRES_BIN"},
	}},
	{"pgbouncer", "pgbouncer", []program{{"/usr/sbin/pgbouncer", "pgbouncer", "DEED_TEST_PGBOUNCER"}}},
	{"NATS", "nats-server", []program{{"nats-server", "nats-server", "DEED_TEST_NATS_SERVER"}}},
	{"kcat", "kcat", []program{{"kcat", "kcat", ""}}},
	{"mosquitto", "mosquitto", []program{
		{"/usr/sbin/mosquitto", "mosquitto", "DEED_TEST_MOSQUITTO"},
		{"mosquitto_pub", "mosquitto-clients", ""},
	}},
	{"RabbitMQ", "rabbitmq-server epmd", []program{
		{"/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server", "DEED_TEST_RABBITMQ"},
	}},
	{"MariaDB", "mariadb", []program{{"/usr/sbin/mariadbd", "mariadb-server", "DEED_TEST_MARIADB"}}},
}

// missing returns the programs that are not there.
func (s server) missing() (missing []program) {
	for _, p := range s.programs {
		if !p.present() {
			missing = append(missing, p)
		}
	}
	return missing
}

func (p program) present() bool {
	if p.variable != "" && os.Getenv(p.variable) != "" {
		return true // the tests say whether it is good for something
	}
	if strings.Contains(p.name, "/") {
		found, err := filepath.Glob(p.name)
		return err == nil && len(found) > 0
	}
	_, err := exec.LookPath(p.name)
	return err == nil
}

// provideServers installs what is missing of the servers, where that is possible, and
// says loudly what it does and what stays missing. Tests without their server are
// skipped, or fail where everything is required.
func provideServers(ctx context.Context, out io.Writer, servers []server, system debian) {
	for _, s := range servers {
		missing := s.missing()
		if len(missing) == 0 {
			continue
		}
		names, packs := columns(missing)
		err := system.ready()
		if err == nil {
			fmt.Fprintf(out, "\n  *** INSTALLING %s: %s not found. Debian packages: %s. No service is started.\n",
				s.name, strings.Join(names, ", "), strings.Join(packs, " "))
			err = system.install(ctx, s.service, packs)
		}
		if names, _ = columns(s.missing()); err == nil && len(names) > 0 {
			err = fmt.Errorf("the packages did not bring it")
		}
		if err != nil {
			fmt.Fprintf(out, "\n  *** WITHOUT %s: its tests are skipped, or fail under DEED_TEST_REQUIRE=all.\n"+
				"  *** %s not found, nor installed: %v\n\n", s.name, strings.Join(names, ", "), err)
			continue
		}
		fmt.Fprintf(out, "  *** INSTALLED %s\n\n", s.name)
	}
}

func columns(programs []program) (names, packs []string) {
	for _, p := range programs {
		names, packs = append(names, p.name), append(packs, p.pack)
	}
	return names, packs
}
