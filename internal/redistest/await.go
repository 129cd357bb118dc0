package redistest

import (
	"fmt"
	"strings"
	"time"
)

// await asks until there is no error, which is the last one when patience ends. It
// gives up when gone is closed; nil never is.
func await(gone <-chan struct{}, ask func() error) error {
	deadline := time.After(patience)
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-gone:
			return fmt.Errorf("it ended: %w", err)
		case <-deadline:
			return fmt.Errorf("waited %v: %w", patience, err)
		case <-tick.C:
		}
	}
}

// awaitFields waits until a command that answers "field:value" lines says what is
// wanted.
func (s *Server) awaitFields(want map[string]string, command ...string) error {
	return await(nil, func() error {
		fields, err := s.fields(command...)
		if err != nil {
			return err
		}
		for name, value := range want {
			if fields[name] != value {
				return fmt.Errorf("%s: %s is %q, not %q", s.name, name, fields[name], value)
			}
		}
		return nil
	})
}

func (s *Server) fields(command ...string) (map[string]string, error) {
	text, err := s.Command(command...)
	if err != nil {
		return nil, err
	}
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[name] = value
		}
	}
	return fields, nil
}
