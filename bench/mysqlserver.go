package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	_ "github.com/go-sql-driver/mysql" // for database/sql
)

// mysqlKeeps is what a server here is set up to keep: MariaDB's own defaults.
const mysqlKeeps = "power"

// mysqlServer is a MariaDB server of a sample's own, on loopback.
type mysqlServer struct {
	address string // host:port
	cmd     *exec.Cmd
}

const mysqlDatabase = "bench"

func (s *mysqlServer) url() string { return "mysql://root@" + s.address + "/" + mysqlDatabase }

// dsn is url for database/sql: several statements in a text, and values in it.
func (s *mysqlServer) dsn(database string) string {
	return "root@tcp(" + s.address + ")/" + database + "?interpolateParams=true&maxAllowedPacket=0"
}

// startMySQL makes a data directory in dir, starts its server and waits until it answers.
func startMySQL(ctx context.Context, dir string) (*mysqlServer, error) {
	bin, err := exec.LookPath("mariadbd")
	if err != nil {
		bin, err = exec.LookPath("/usr/sbin/mariadbd") // Debian's, which few have on PATH
	}
	if err != nil {
		return nil, errors.New("there is no mariadbd (install mariadb-server, or leave these cases out with -only)")
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	home := filepath.Join(dir, "mysql")
	if home, err = filepath.Abs(home); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, err
	}
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755), giveAway(home)); err != nil {
		return nil, err
	}
	data := "--datadir=" + filepath.Join(home, "data")
	made := unprivileged(exec.Command("mariadb-install-db", "--no-defaults", data,
		"--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"))
	made.Dir = home
	if said, err := made.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("mariadb-install-db: %w: %s", err, said)
	}
	s := &mysqlServer{
		address: "127.0.0.1:" + strconv.Itoa(port),
		cmd: unprivileged(exec.Command(bin, "--no-defaults", data, "--port="+strconv.Itoa(port),
			"--bind-address=127.0.0.1", "--skip-name-resolve", "--socket="+filepath.Join(home, "socket"),
			"--innodb-buffer-pool-size=256M", "--innodb-log-file-size=1G")),
	}
	s.cmd.Dir = home
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := s.exec(ctx, "mysql", "create database "+mysqlDatabase)
		if err == nil {
			return s, nil
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return nil, errors.Join(fmt.Errorf("mariadbd does not answer: %w", err), s.stop())
		}
	}
}

func (s *mysqlServer) exec(ctx context.Context, database, query string) error {
	db, err := sql.Open("mysql", s.dsn(database))
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, query)
	return err
}

// cpu is the processor time that the server has used.
func (s *mysqlServer) cpu() time.Duration { return cpuOf(s.cmd.Process.Pid) }

// stop ends the server, which has nothing worth keeping.
func (s *mysqlServer) stop() error {
	if err := s.cmd.Process.Kill(); err != nil {
		return err
	}
	s.cmd.Wait() //nolint:errcheck // it was killed
	return nil
}

// onMySQL is onPostgres for MariaDB.
func onMySQL(
	name string, start func(ctx context.Context, s *mysqlServer, handle func([]byte)) (*started, error),
) system {
	return system{name: name, durability: mysqlKeeps,
		start: func(ctx context.Context, dir string, handle func([]byte)) (*started, error) {
			server, err := startMySQL(ctx, dir)
			if err != nil {
				return nil, err
			}
			return startOn(ctx, server, server.url(),
				func(ctx context.Context, _ string, handle func([]byte)) (*started, error) {
					return start(ctx, server, handle)
				}, handle)
		}}
}

// mysqlSystems are all systems on MariaDB.
func mysqlSystems() []system {
	return []system{
		onMySQL("raw/mysql", rawMySQL),
		onMySQL("deed/mysql", func(ctx context.Context, s *mysqlServer, handle func([]byte)) (*started, error) {
			return openDeed(ctx, s.url(), nil, handle)
		}),
	}
}

// rawMySQL inserts rows of the very bytes that deed writes, a transaction and a statement
// for each batch. Nobody reads: an event counts as handled when it is committed.
func rawMySQL(ctx context.Context, s *mysqlServer, handle func([]byte)) (*started, error) {
	err := s.exec(ctx, mysqlDatabase, "create table log (id bigint auto_increment primary key, "+
		"`key` text not null, meta text not null, data longblob not null) engine = InnoDB")
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("mysql", s.dsn(mysqlDatabase))
	if err != nil {
		return nil, err
	}
	return &started{
		publish: func(ctx context.Context, events []event) error {
			args := make([]any, 0, 3*len(events))
			for i := range events {
				args = append(args, events[i].key, metaOf(&events[i]), events[i].data)
			}
			query := "insert into log (`key`, meta, data) values (?, ?, ?)" + strings.Repeat(", (?, ?, ?)", len(events)-1)
			if _, err := db.ExecContext(ctx, query, args...); err != nil {
				return err
			}
			for i := range events {
				handle(events[i].data)
			}
			return nil
		},
		stop: db.Close,
	}, nil
}
