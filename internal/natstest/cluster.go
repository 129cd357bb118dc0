package natstest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/deedgo/deed/internal/freeport"
	"github.com/deedgo/deed/internal/testserver"
)

// Cluster is new servers that keep streams together.
type Cluster struct {
	tb    testing.TB
	Nodes []*Server
}

// StartCluster runs so many servers, and returns when JetStream answers on each.
func StartCluster(t testing.TB, nodes int, lines ...string) *Cluster {
	t.Helper()
	c := &Cluster{tb: t}
	routes := make([]string, nodes)
	for i := range routes {
		port, err := freeport.Find()
		if err != nil {
			t.Fatal(err)
		}
		routes[i] = fmt.Sprint("127.0.0.1:", port)
	}
	program := built(t)
	for _, at := range routes {
		s := &Server{member: true, lines: []string{fmt.Sprintf("cluster { name: deed, listen: %q, routes: [ %s ] }",
			at, "nats://"+strings.Join(routes, ", nats://"))}}
		s.Server = testserver.New(t, testserver.Config{
			Kind: "nats", Dir: t.TempDir(), Ports: []int{monitorDistance},
			Prepare: func() error { return s.configure(lines) },
			Command: func() []string { return []string{program, "-c", s.config()} },
			Ready:   s.ready,
		})
		s.Launch()
		c.Nodes = append(c.Nodes, s)
	}
	for _, s := range c.Nodes {
		c.await(s.Name()+" has a leader of the cluster", func(ctx context.Context) error {
			return asked(s.URL(), func(js jetstream.JetStream) error {
				_, err := js.AccountInfo(ctx)
				return err
			})
		})
	}
	return c
}

// URL returns where the cluster is, with the monitoring port of its first server.
func (c *Cluster) URL() string {
	url := c.Nodes[0].URL() + "?monitor=" + c.Nodes[0].MonitorURL()
	for _, s := range c.Nodes[1:] {
		url += "&addr=" + s.Addr()
	}
	return url
}

// Leader returns the server that leads a stream, and the others.
func (c *Cluster) Leader(stream string) (leader *Server, others []*Server) {
	c.tb.Helper()
	name := ""
	c.await(stream+" has a leader", func(ctx context.Context) error {
		info, err := c.info(ctx, stream)
		if err == nil && info.Leader == "" {
			err = fmt.Errorf("%+v", info)
		}
		if err == nil {
			name = info.Leader
		}
		return err
	})
	for _, s := range c.Nodes {
		if s.serverName() == name {
			leader = s
		} else {
			others = append(others, s)
		}
	}
	return leader, others
}

// Settled waits until all replicas of a stream have all of it.
func (c *Cluster) Settled(stream string) {
	c.tb.Helper()
	c.await("all replicas of "+stream+" are current", func(ctx context.Context) error {
		info, err := c.info(ctx, stream)
		if err != nil {
			return err
		}
		current := 1 // the leader
		for _, r := range info.Replicas {
			if r.Current && !r.Offline {
				current++
			}
		}
		if current < len(c.Nodes) || info.Leader == "" {
			return fmt.Errorf("%d of %d are", current, len(c.Nodes))
		}
		return nil
	})
}

// info asks any server that runs.
func (c *Cluster) info(ctx context.Context, stream string) (info *jetstream.ClusterInfo, err error) {
	var urls []string
	for _, s := range c.Nodes {
		urls = append(urls, s.URL())
	}
	err = asked(strings.Join(urls, ","), func(js jetstream.JetStream) error {
		s, err := js.Stream(ctx, stream)
		if err == nil {
			info = s.CachedInfo().Cluster
		}
		return err
	})
	return info, err
}

func asked(url string, do func(jetstream.JetStream) error) error {
	nc, err := nats.Connect(url, nats.NoReconnect(), nats.Timeout(time.Second))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	return do(js)
}

// await asks until there is no error.
func (c *Cluster) await(what string, ask func(ctx context.Context) error) {
	c.tb.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(testserver.Patience); ; <-tick.C {
		ctx, cancel := context.WithTimeout(c.tb.Context(), 5*time.Second)
		err := ask(ctx)
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			c.tb.Fatalf("not within %v: %s: %v", testserver.Patience, what, err)
		}
	}
}
