package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisMode is how a server keeps what it has.
type redisMode struct {
	name       string // behind the system's
	keeps      string
	directives []string
}

// The modes, the default of this benchmark first.
var redisModes = []redisMode{
	{"", "process, synced each second", []string{"--appendonly", "yes", "--appendfsync", "everysec"}},
	{"/off", "memory", []string{"--appendonly", "no"}},
	{"/always", "power", []string{"--appendonly", "yes", "--appendfsync", "always"}},
}

// redisServer is a server of a sample's own, on loopback.
type redisServer struct {
	addr string
	cmd  *exec.Cmd
}

// startRedis starts a server in dir and waits until it answers.
func startRedis(ctx context.Context, dir string, mode redisMode) (*redisServer, error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("%w (install redis-server, or leave these cases out with -only)", err)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "redis")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return nil, err
	}
	args := append([]string{
		"--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--dir", data, "--save", "", "--loglevel", "warning",
	}, mode.directives...)
	s := &redisServer{addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), cmd: exec.Command(program, args...)}
	s.cmd.SysProcAttr = endsWithParent()
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	client := redis.NewClient(&redis.Options{Addr: s.addr})
	defer client.Close()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if err = client.Ping(ctx).Err(); err == nil {
			return s, nil
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return nil, errors.Join(fmt.Errorf("redis-server does not answer: %w", err), s.stop())
		}
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// cpu is the processor time that the server has used.
func (s *redisServer) cpu() time.Duration { return cpuOf(s.cmd.Process.Pid) }

// stop ends the server, which has nothing worth keeping.
func (s *redisServer) stop() error {
	if err := s.cmd.Process.Kill(); err != nil {
		return err
	}
	s.cmd.Wait() // says that it was killed
	return nil
}

// onRedis makes a system of one that needs a server: it is started before and ended
// after it.
func onRedis(
	name string, mode redisMode, start func(context.Context, *redisServer, func([]byte)) (*started, error),
) system {
	return system{name: name + mode.name, durability: mode.keeps,
		start: func(ctx context.Context, dir string, handle func([]byte)) (*started, error) {
			server, err := startRedis(ctx, dir, mode)
			if err != nil {
				return nil, err
			}
			st, err := start(ctx, server, handle)
			if err != nil {
				return nil, errors.Join(err, server.stop())
			}
			stop := st.stop
			st.stop = func() error { return errors.Join(stop(), server.stop()) }
			st.serverCPU = server.cpu
			return st, nil
		}}
}

// redisSystems are all systems on Redis.
func redisSystems() []system {
	var all []system
	for _, m := range redisModes {
		all = append(all,
			onRedis("raw/redis", m, rawRedis),
			onRedis("deed/redis", m, deedRedis(nil)),
			onRedis("deed/redis-packed", m, deedRedis(&deedVariant{pack: true})),
		)
	}
	m := redisModes[0]
	return append(all,
		onRedis("deed/redis-window", m, deedRedis(&deedVariant{window: true})),
		onRedis("bare/redis", m, bareRedis),
		onRedis("naive/redis", m, naiveRedis),
		onRedis("watermill/redisstream", m, watermillRedis),
		onRedis("asynq", m, asynqRedis),
	)
}

func deedRedis(v *deedVariant) func(context.Context, *redisServer, func([]byte)) (*started, error) {
	return func(ctx context.Context, s *redisServer, handle func([]byte)) (*started, error) {
		return openDeed(ctx, "redis://"+s.addr, v, handle)
	}
}
