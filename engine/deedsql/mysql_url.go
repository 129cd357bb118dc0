package deedsql

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// mysqlSettings are what a URL says.
type mysqlSettings struct {
	config *mysql.Config
	conns  int  // at most so many connections, 0 for any number
	ddl    bool // may make tables
}

// mysqlParameters are those that a URL may have; docs/guides/mysql.md explains them.
var mysqlParameters = []string{
	"ddl", "socket", "tls", "skip_verify", "ca", "cert", "key", "dial_timeout", "answer_timeout", "max_conns",
}

const (
	mysqlPort    = "3306"
	mysqlDial    = 5 * time.Second  // how long a connection may take
	mysqlAnswer  = 30 * time.Second // how long an answer may take; longer than any lock is waited for
	mysqlLockFor = 5                // seconds that a statement waits for a lock, before its transaction runs again
)

// parseMySQL reads a URL. An error never repeats it, for it may hold a password.
func parseMySQL(text string) (mysqlSettings, error) {
	s, err := readMySQL(text)
	if err != nil {
		return s, fmt.Errorf("%w: url: %w", driver.ErrRefused, err)
	}
	return s, nil
}

func readMySQL(text string) (s mysqlSettings, err error) {
	u, q, err := driverkit.ParseURL(text, "mysql://USER:PASSWORD@HOST:PORT/DATABASE", mysqlParameters)
	if err != nil {
		return s, err
	}
	c := mysql.NewConfig()
	c.DBName = strings.TrimPrefix(u.Path, "/")
	if c.DBName == "" || strings.Contains(c.DBName, "/") {
		return s, fmt.Errorf("names the database %q (want mysql://USER:PASSWORD@HOST:PORT/DATABASE)", c.DBName)
	}
	c.User = u.User.Username()
	c.Passwd, _ = u.User.Password()
	c.Net, c.Addr = "tcp", u.Host
	if u.Port() == "" {
		c.Addr = net.JoinHostPort(u.Hostname(), mysqlPort)
	}
	switch {
	case q.Has("socket") && u.Host != "":
		return s, errors.New("names a host and a socket (want one: mysql://USER:PASSWORD@/DATABASE?socket=PATH)")
	case q.Has("socket"):
		c.Net, c.Addr = "unix", q.Get("socket")
	case u.Hostname() == "":
		return s, errors.New("names no host (want mysql://USER:PASSWORD@HOST:PORT/DATABASE)")
	}
	if ddl := q.Get("ddl"); ddl != "" && ddl != "on" && ddl != "off" {
		return s, fmt.Errorf("ddl is %q (want on or off)", ddl)
	}
	s.ddl = q.Get("ddl") != "off"
	s.config = c
	for _, read := range []func(url.Values) error{s.readTimes, s.readConns, s.readTLS} {
		if err := read(q); err != nil {
			return s, err
		}
	}
	s.tune()
	return s, nil
}

// tune sets what deed counts on, whatever the server's own settings are.
func (s *mysqlSettings) tune() {
	c := s.config
	c.InterpolateParams = true // one round trip for each statement
	c.ClientFoundRows = true   // an UPDATE that changes nothing has found its row
	c.Params = map[string]string{
		"sql_mode":                 "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
		"time_zone":                "'+00:00'",
		"innodb_lock_wait_timeout": strconv.Itoa(mysqlLockFor),
	}
	c.Logger = &mysql.NopLogger{} // errors are returned
}

func (s *mysqlSettings) readTimes(q url.Values) error {
	c := s.config
	c.Timeout, c.ReadTimeout = mysqlDial, mysqlAnswer
	for name, to := range map[string]*time.Duration{"dial_timeout": &c.Timeout, "answer_timeout": &c.ReadTimeout} {
		if !q.Has(name) {
			continue
		}
		d, err := time.ParseDuration(q.Get(name))
		if err != nil || d < time.Millisecond {
			return fmt.Errorf("%s is %q (want a time such as 2s)", name, q.Get(name))
		}
		*to = d
	}
	if c.ReadTimeout <= mysqlLockFor*time.Second {
		return fmt.Errorf("answer_timeout is %v (want more than the %ds that a lock is waited for)",
			c.ReadTimeout, mysqlLockFor)
	}
	c.WriteTimeout = c.ReadTimeout
	return nil
}

// minConns is the least that works: one to write, one to watch, one to read and one for
// what a reader asks beside.
const minConns = 4

func (s *mysqlSettings) readConns(q url.Values) error {
	if !q.Has("max_conns") {
		return nil
	}
	n, err := strconv.Atoi(q.Get("max_conns"))
	if err != nil || n < minConns {
		return fmt.Errorf("max_conns is %q (want a number, %d or more)", q.Get("max_conns"), minConns)
	}
	s.conns = n
	return nil
}

// readTLS sets up TLS when a parameter asks for it.
func (s *mysqlSettings) readTLS(q url.Values) error {
	want := q.Get("tls")
	if !slices.Contains([]string{"", "true", "false", "preferred"}, want) {
		return fmt.Errorf("tls is %q (want true, false or preferred)", want)
	}
	if want == "" || want == "false" || want == "preferred" {
		if name := driverkit.WantsTLS(q); name != "" {
			return fmt.Errorf("%s means nothing without tls=true", name)
		}
		if want == "preferred" {
			s.config.TLSConfig = want
		}
		return nil
	}
	host, _, err := net.SplitHostPort(s.config.Addr)
	if err != nil {
		return errors.New("tls=true means nothing on a socket")
	}
	c := &tls.Config{ServerName: host}
	if err := driverkit.ReadTLS(c, q); err != nil {
		return err
	}
	s.config.TLS = c
	return nil
}
