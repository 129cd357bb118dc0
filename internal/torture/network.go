package torture

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/deedgo/deed/internal/fault"
)

// network is the way of each worker to the servers: proxies of its own, so that one is
// harmed while others are not.
type network map[string][]*fault.Proxy

// connect puts proxies between a worker and the servers of the bus and its state, which the
// consumers' database may be on too: their addresses in the job lead through these then.
func (n network) connect(job *Job) error {
	for _, at := range []string{job.URL, job.State} {
		if at == "" {
			continue
		}
		u, err := url.Parse(at)
		if err != nil || u.Host == "" {
			return fmt.Errorf("a network to %q: want the URL of a server", at)
		}
		p, err := fault.Listen(u.Host)
		if err != nil {
			return err
		}
		n[job.Name] = append(n[job.Name], p)
		for _, to := range []*string{&job.URL, &job.State, &job.Effects} {
			*to = strings.Replace(*to, u.Host, p.Addr(), 1)
		}
	}
	return nil
}

func (n network) close() {
	for _, proxies := range n {
		for _, p := range proxies {
			p.Close()
		}
	}
}

// wire is harm to the connections of a worker, which knows nothing of it.
type wire struct {
	network network
	what    string
	harm    func(p *fault.Proxy)
}

func (w wire) Describe() string { return w.what }

func (w wire) Start(target string) error {
	for _, p := range w.network[target] {
		w.harm(p)
	}
	return nil
}

func (w wire) Stop(target string) (err error) {
	for _, p := range w.network[target] {
		err = errors.Join(err, p.Heal())
	}
	return err
}

// NetworkFaults harm the connections of all workers. Without a network, see [Config],
// there are none.
func (c *Cluster) NetworkFaults() []Fault {
	if len(c.network) == 0 {
		return nil
	}
	targets := slices.Sorted(maps.Keys(c.network))
	lease := c.config.Lease
	harm := func(name, what string, weight int, low, high time.Duration, do func(p *fault.Proxy)) Fault {
		return Fault{Name: name, Nemesis: wire{c.network, what, do}, Targets: targets, Weight: weight, Min: low, Max: high}
	}
	return []Fault{
		harm("cut", "all connections are reset", 2, 0, 0, (*fault.Proxy).Cut),
		harm("gone", "connections are reset and refused", 1, lease/4, 2*lease, func(p *fault.Proxy) {
			p.Refuse()
			p.Cut()
		}),
		harm("drop", "one answer in twenty is lost, and its connection with it", 3, lease/2, 2*lease,
			func(p *fault.Proxy) { p.DropReplies(0.05, c.config.Seed) }),
		harm("slow", "everything comes 5 to 200 ms late", 1, lease/2, 2*lease, func(p *fault.Proxy) {
			p.Delay(between(rand.New(rand.NewPCG(c.config.Seed, 2)), 5*time.Millisecond, 200*time.Millisecond))
		}),
		harm("hole", "nothing gets through, in either direction, past the lease", 1, lease, 3*lease,
			(*fault.Proxy).Blackhole),
		harm("deaf", "the server hears and is not heard, past the lease", 1, lease, 3*lease,
			(*fault.Proxy).BlackholeReplies),
	}
}

// Server is the server that the bus is on.
type Server interface {
	Kill()                        // ends it as kill -9 does, and waits
	Restart(directives ...string) // runs it again, and waits until it answers
}

// outage is kill -9 of the server, and a restart.
type outage struct{ server Server }

func (outage) Describe() string { return "kill -9 of the server, and a restart" }

func (o outage) Start(string) error {
	o.server.Kill()
	return nil
}

func (o outage) Stop(string) error {
	o.server.Restart()
	return nil
}

// ServerFault kills the server and starts it again within a lease and a half.
func (c *Cluster) ServerFault(s Server, weight int) Fault { return c.outageFault("server", s, weight) }

// StateFault is ServerFault of the one that the bus's state is on.
func (c *Cluster) StateFault(s Server, weight int) Fault { return c.outageFault("state", s, weight) }

func (c *Cluster) outageFault(name string, s Server, weight int) Fault {
	return Fault{
		Name: name, Nemesis: outage{s}, Targets: []string{name}, Weight: weight, Max: 3 * c.config.Lease / 2,
	}
}
