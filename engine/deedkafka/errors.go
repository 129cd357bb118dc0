package deedkafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/deedgo/deed/driver"
)

// meanings are what the errors of brokers and the client say to a caller.
var meanings = []struct {
	err   error
	means error
	hint  string
}{
	{kerr.UnknownTopicOrPartition, driver.ErrNotFound, "the cluster has no such topic"},
	{kerr.UnknownTopicID, driver.ErrNotFound, "the topic was deleted"},
	{kerr.MessageTooLarge, driver.ErrRefused, "it is above the topic's max.message.bytes"},
	{kerr.RecordListTooLarge, driver.ErrRefused, "it is above the topic's segment.bytes"},
	{kerr.InvalidTopicException, driver.ErrRefused, "Kafka takes no topic of this name"},
	{kerr.InvalidReplicationFactor, driver.ErrRefused, "the cluster has too few brokers (see replicas in the URL)"},
	{kerr.InvalidSessionTimeout, driver.ErrRefused,
		"the lease is outside of the brokers' group.min.session.timeout.ms and group.max.session.timeout.ms"},
	{kerr.InconsistentGroupProtocol, driver.ErrRefused, "other programs than deed are members of the consumer group"},
	{kerr.TopicAuthorizationFailed, driver.ErrRefused, "the user may not do this to the topic"},
	{kerr.GroupAuthorizationFailed, driver.ErrRefused, "the user may not do this to the group"},
	{kerr.ClusterAuthorizationFailed, driver.ErrRefused, "the user may not do this to the cluster"},
	{kerr.SaslAuthenticationFailed, driver.ErrRefused, "the user or password is wrong"},
	{kerr.UnsupportedSaslMechanism, driver.ErrRefused, "the brokers want another sasl in the URL"},
	{kerr.PolicyViolation, driver.ErrRefused, "a policy of the cluster forbids it"},
	{kerr.NotEnoughReplicas, driver.ErrNotStored, "fewer replicas are in sync than min.insync.replicas"},
	{kerr.NonEmptyGroup, driver.ErrBusy, "the consumer group has members"},
	{kerr.GroupIDNotFound, driver.ErrNotFound, "the cluster has no such consumer group"},
	{kgo.ErrClientClosed, driver.ErrClosed, "the connection was closed"},
}

// explain wraps what an error means for the caller.
func explain(err error) error {
	for _, m := range meanings {
		if errors.Is(err, m.err) {
			return fmt.Errorf("%w: %s: %w", m.means, m.hint, err)
		}
	}
	var op *net.OpError
	var network net.Error
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &cert):
		return fmt.Errorf("%w: the broker's certificate is not trusted (name its authority by ca=FILE): %w",
			driver.ErrRefused, err)
	case errors.As(err, &op) && op.Op == "remote error": // an alert of TLS
		return fmt.Errorf("%w: the broker does not accept the client's TLS (cert=FILE and key=FILE name a certificate): %w",
			driver.ErrRefused, err)
	case errors.As(err, &op) && op.Op == "dial":
		return fmt.Errorf("%w: %w", driver.ErrAway, err)
	case errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, kgo.ErrRecordTimeout), errors.Is(err, kgo.ErrRecordRetries), kgo.IsRetryableBrokerErr(err),
		kerr.IsRetriable(err): // a broker that starts, or a partition that moves
		return fmt.Errorf("%w: %w", driver.ErrAway, err)
	}
	return err
}

// fail names what was tried in an error that is not nil.
func (c *Conn) fail(what string, err error) error {
	if err == nil {
		return nil
	}
	if c.ctx.Err() != nil && !errors.Is(err, driver.ErrClosed) {
		err = fmt.Errorf("%w: %w", driver.ErrClosed, err)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("deedkafka: %s: %w", what, explain(err))
}
