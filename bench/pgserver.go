package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgresKeeps is what a server here is set up to keep: Postgres's own defaults.
const postgresKeeps = "power"

// postgresServer is a server of a sample's own, on loopback.
type postgresServer struct {
	url string
	cmd *exec.Cmd
}

// postgresBin finds the directory of Postgres's programs, which Debian keeps off PATH.
func postgresBin() (string, error) {
	if path, err := exec.LookPath("postgres"); err == nil {
		path, err = filepath.EvalSymlinks(path)
		return filepath.Dir(path), err
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(found) == 0 {
		return "", errors.New("there is no Postgres (install postgresql, or leave these cases out with -only)")
	}
	return found[len(found)-1], nil
}

// startPostgres makes a cluster in dir, starts its server and waits until it answers.
func startPostgres(ctx context.Context, dir string) (*postgresServer, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "postgres")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	// Who runs the server has to get there through the directories of the run.
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755), giveAway(data)); err != nil {
		return nil, err
	}
	// Not synced while it is made; what it keeps later is synced.
	made := unprivileged(exec.Command(filepath.Join(bin, "initdb"), "-D", data, "--no-sync", "--username=postgres",
		"--auth=trust", "--locale=C", "--encoding=UTF8"))
	made.Dir = data
	if said, err := made.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, said)
	}
	s := &postgresServer{
		url: fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", port),
		cmd: unprivileged(exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(port),
			"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_wal_size=4GB",
			"-c", "shared_buffers=256MB", "-c", "dynamic_shared_memory_type=mmap")),
	}
	s.cmd.Dir = data
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := pgx.Connect(ctx, s.url)
		if err == nil {
			return s, conn.Close(ctx)
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return nil, errors.Join(fmt.Errorf("postgres does not answer: %w", err), s.stop())
		}
	}
}

// cpu is the processor time of the server and of its processes that still run.
func (s *postgresServer) cpu() time.Duration {
	total := cpuOf(s.cmd.Process.Pid)
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for _, child := range strings.Fields(string(children)) {
		pid, err := strconv.Atoi(child)
		if err == nil {
			total += cpuOf(pid)
		}
	}
	return total
}

// stop ends the server, which has nothing worth keeping.
func (s *postgresServer) stop() error {
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	return s.cmd.Wait()
}

// onPostgres is onRedis for Postgres.
func onPostgres(
	name string, start func(ctx context.Context, url string, handle func([]byte)) (*started, error),
) system {
	return system{name: name, durability: postgresKeeps,
		start: func(ctx context.Context, dir string, handle func([]byte)) (*started, error) {
			server, err := startPostgres(ctx, dir)
			if err != nil {
				return nil, err
			}
			return startOn(ctx, server, server.url, start, handle)
		}}
}

// sqlServer is a server of a sample's own.
type sqlServer interface {
	cpu() time.Duration
	stop() error
}

// startOn starts a system on a server that ends with it.
func startOn(
	ctx context.Context, server sqlServer, url string,
	start func(ctx context.Context, url string, handle func([]byte)) (*started, error), handle func([]byte),
) (*started, error) {
	st, err := start(ctx, url, handle)
	if err != nil {
		return nil, errors.Join(err, server.stop())
	}
	stop := st.stop
	st.stop = func() error { return errors.Join(stop(), server.stop()) }
	st.serverCPU = server.cpu
	return st, nil
}

// postgresSystems are all systems on Postgres.
func postgresSystems() []system {
	return []system{
		onPostgres("raw/postgres", rawPostgres(insertUnnest)),
		onPostgres("raw/postgres-copy", rawPostgres(insertCopy)),
		onPostgres("deed/postgres", func(ctx context.Context, url string, handle func([]byte)) (*started, error) {
			return openDeed(ctx, url, nil, handle)
		}),
		onPostgres("watermill/sql", watermillPostgres),
		onPostgres("river", riverPostgres),
	}
}
