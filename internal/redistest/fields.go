package redistest

import (
	"fmt"
	"strings"

	"github.com/deedgo/deed/internal/testserver"
)

// awaitFields waits until a command that answers "field:value" lines says what is
// wanted.
func (s *Server) awaitFields(want map[string]string, command ...string) error {
	return testserver.Await(nil, func() error {
		fields, err := s.fields(command...)
		if err != nil {
			return err
		}
		for name, value := range want {
			if fields[name] != value {
				return fmt.Errorf("%s: %s is %q, not %q", s.Name(), name, fields[name], value)
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
