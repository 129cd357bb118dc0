package redistest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/deedgo/deed/internal/testserver"
)

// Command runs one command on a connection of its own: Command("CONFIG", "SET",
// "maxmemory", "1mb"). The answer is text: a number in decimal, nothing for null,
// and an array as a line for each element. Its error is the server's, or says why
// there was no answer.
func (s *Server) Command(args ...string) (string, error) {
	answer, err := s.command(args)
	if err != nil {
		return "", fmt.Errorf("%s: %s: %w", s.Name(), args[0], err)
	}
	return answer, nil
}

func (s *Server) command(args []string) (string, error) {
	conn, err := s.dial()
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(testserver.Patience)); err != nil {
		return "", err
	}
	r := bufio.NewReader(conn)
	if s.password != "" {
		if _, err := ask(conn, r, []string{"AUTH", s.password}); err != nil {
			return "", err
		}
	}
	return ask(conn, r, args)
}

func (s *Server) dial() (net.Conn, error) {
	d := &net.Dialer{Timeout: testserver.Patience}
	if s.tls != nil {
		return tls.DialWithDialer(d, "tcp", s.Addr(), s.tls.Config())
	}
	return d.Dial("tcp", s.Addr())
}

func ask(w io.Writer, r *bufio.Reader, args []string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return "", err
	}
	return readAnswer(r)
}

// readAnswer reads one value of RESP2, the protocol that a connection begins with.
func readAnswer(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" {
		return "", errors.New("the answer is an empty line")
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+', ':':
		return rest, nil
	case '-':
		return "", errors.New(rest)
	case '$', '*':
	default:
		return "", fmt.Errorf("the answer begins %q", line)
	}
	n, err := strconv.Atoi(rest)
	if err != nil {
		return "", fmt.Errorf("the answer's length is %q", rest)
	}
	if kind == '*' {
		return readArray(r, n)
	}
	return readBulk(r, n)
}

func readBulk(r *bufio.Reader, n int) (string, error) {
	if n < 0 {
		return "", nil
	}
	text := make([]byte, n+len("\r\n"))
	if _, err := io.ReadFull(r, text); err != nil {
		return "", err
	}
	return string(text[:n]), nil
}

// readArray reads all elements, also those after an error, which is then the answer.
func readArray(r *bufio.Reader, n int) (string, error) {
	var lines []string
	for range max(n, 0) {
		element, err := readAnswer(r)
		if err != nil {
			return "", err
		}
		lines = append(lines, element)
	}
	return strings.Join(lines, "\n"), nil
}
