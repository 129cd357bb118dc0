package deednats

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/deedgo/deed/driver"
)

var (
	// errMoved means that the last message of a subject is not the expected one.
	errMoved = errors.New("another message is the last one by now")
	// errNone means that there is no such message.
	errNone = errors.New("there is none")
	// errNoStream means that there is no such stream, or that JetStream is away.
	errNoStream = errors.New("no JetStream stream answers")
	// errCut is why a call ends whose connection is lost: no answer to it will come.
	errCut = fmt.Errorf("%w: the connection was lost", driver.ErrAway)
	// errGone is what members of a deleted group are told.
	errGone = fmt.Errorf("%w: the topic or group was deleted", driver.ErrNotFound)
	errLost = fmt.Errorf("%w: %w: nobody has deleted the topic or group", driver.ErrNotFound, driver.ErrLost)
)

// The error codes of JetStream's that mean something to deed.
const (
	codeNoMessage     = 10037
	codeNoStream      = 10059
	codeStreamInUse   = 10058
	codeWrongLast     = 10071
	codeWrongLastNow  = 10164 // of a server that does not say which is
	codeTooLarge      = 10054
	codeNoSpace       = 10047
	codeNoMemory      = 10028
	codeStreamLimit   = 10027
	codeStorageLimit  = 10023
	codeNotEnabled    = 10076
	codeNotForAccount = 10039
	codeStoreFailed   = 10077
	codeNoPeers       = 10005
	codeNoCluster     = 10074
	codeNoLeader      = 10008
	codeNotLeader     = 10009
)

// code returns the code of an answer of JetStream's, 0 when it is another error.
func code(err error) int {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return int(api.ErrorCode)
	}
	return 0
}

// classify turns the answers that callers tell apart into errors of deed's own.
func classify(err error) error {
	switch code(err) {
	case codeWrongLast, codeWrongLastNow:
		return errMoved
	case codeNoMessage:
		return errNone
	case codeNoStream:
		return fmt.Errorf("%w: %w", errNoStream, err)
	}
	if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse) {
		return fmt.Errorf("%w: %w", errNoStream, err)
	}
	return err
}

// explain wraps what an error of the client or server means for the caller.
func explain(err error) error {
	switch code(err) {
	case codeTooLarge:
		return fmt.Errorf("%w: it is larger than the server's max_payload: %w", driver.ErrRefused, err)
	case codeNoSpace, codeNoMemory, codeStreamLimit, codeStorageLimit:
		return fmt.Errorf("%w: the server or account has no room left (see max_file_store and the account's limits): %w",
			driver.ErrFull, err)
	case codeNotEnabled, codeNotForAccount:
		return fmt.Errorf("%w: JetStream is off (add a jetstream block to the server's configuration, or give the account "+
			"its limits): %w", driver.ErrRefused, err)
	case codeNoPeers, codeNoCluster:
		return fmt.Errorf("%w: the cluster has too few servers for the replicas that the URL asks for: %w",
			driver.ErrRefused, err)
	case codeNoLeader, codeNotLeader:
		return fmt.Errorf("%w: the cluster has no leader at the moment: %w", driver.ErrAway, err)
	case codeStoreFailed:
		return fmt.Errorf("%w: the server could not write: %w", driver.ErrNotStored, err)
	}
	var cert *tls.CertificateVerificationError
	var network net.Error
	var op *net.OpError
	switch {
	case err == nil, errors.Is(err, driver.ErrAway):
		return err
	case errors.As(err, &cert):
		return fmt.Errorf("%w: the server's certificate is not trusted (name its authority by ca=FILE): %w",
			driver.ErrRefused, err)
	case errors.As(err, &op) && op.Op == "remote error", // an alert of TLS, or what is left of one that came too late
		errors.Is(err, nats.ErrTLS):
		return fmt.Errorf("%w: the server does not accept the client's TLS (cert=FILE and key=FILE name a certificate): %w",
			driver.ErrRefused, err)
	case errors.Is(err, nats.ErrSecureConnRequired), errors.Is(err, nats.ErrSecureConnWanted):
		return fmt.Errorf("%w: one side wants TLS and the other does not (see tls=1): %w", driver.ErrRefused, err)
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired):
		return fmt.Errorf("%w: the server does not let this user in (nats://USER:PASSWORD@HOST, creds=FILE): %w",
			driver.ErrRefused, err)
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("%w: it is larger than the server's max_payload: %w", driver.ErrRefused, err)
	case errors.Is(err, nats.ErrNoServers), errors.Is(err, nats.ErrReconnectBufExceeded):
		return fmt.Errorf("%w: %w: %w", driver.ErrNotStored, driver.ErrAway, err)
	case errors.As(err, &network), errors.Is(err, nats.ErrTimeout), errors.Is(err, nats.ErrNoResponders),
		errors.Is(err, nats.ErrDisconnected), errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, errNoStream):
		return fmt.Errorf("%w: %w", driver.ErrAway, err)
	}
	return err
}

// fail names what was tried in an error that is not nil.
func (c *Conn) fail(what string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if c.ctx.Err() != nil && errors.Is(err, nats.ErrConnectionClosed) {
		err = fmt.Errorf("%w: %w", driver.ErrClosed, err)
	}
	return fmt.Errorf("deednats: %s: %w", what, explain(err))
}
