package deedmqtt

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/eclipse/paho.golang/paho"

	"github.com/deedgo/deed/driver"
)

// reasons says what a broker's reason codes mean for whoever asked.
var reasons = map[byte]struct {
	err  error
	text string
}{
	0x81: {driver.ErrRefused, "malformed packet"},
	0x82: {driver.ErrRefused, "protocol error"},
	0x83: {driver.ErrNotStored, "the broker's own error"},
	0x84: {driver.ErrRefused, "the broker does not speak this version of MQTT (an old one may want version=3.1.1)"},
	0x85: {driver.ErrRefused, "the client id is not valid"},
	0x86: {driver.ErrRefused, "bad user name or password"},
	0x87: {driver.ErrRefused, "not authorized"},
	0x88: {driver.ErrAway, "the broker is unavailable"},
	0x89: {driver.ErrAway, "the broker is busy"},
	0x8a: {driver.ErrRefused, "banned"},
	0x8b: {driver.ErrAway, "the broker shuts down"},
	0x8d: {driver.ErrAway, "the broker heard nothing for too long"},
	0x8e: {ErrTaken, ""},
	0x8f: {driver.ErrRefused, "the topic filter is not valid"},
	0x90: {driver.ErrRefused, "the topic name is not valid"},
	0x95: {driver.ErrRefused, "the packet is too large"},
	0x97: {driver.ErrNotStored, "a quota is exceeded"},
	0x98: {driver.ErrAway, "an operator ended it"},
	0x99: {driver.ErrRefused, "the payload is not what it claims to be"},
	0x9c: {driver.ErrAway, "the broker wants another to be used"},
	0x9d: {driver.ErrAway, "the broker has moved"},
	0x9e: {driver.ErrRefused, "the broker has no shared subscriptions"},
	0x9f: {driver.ErrAway, "too many connections"},
	0xa2: {driver.ErrRefused, "the broker has no wildcards"},
}

// reason makes an error of a reason code.
func reason(code byte, text string) error {
	r, known := reasons[code]
	switch {
	case !known:
		r.err, r.text = driver.ErrAway, fmt.Sprintf("reason %#x", code)
	case r.text == "":
		return r.err
	}
	if text != "" && text != r.text {
		r.text += " (" + text + ")"
	}
	return fmt.Errorf("%w: %s", r.err, r.text)
}

// rejected makes an error of the broker's no to a connection.
func rejected(answer *paho.Connack) error {
	text := ""
	if answer.Properties != nil {
		text = answer.Properties.ReasonString
	}
	return reason(answer.ReasonCode, text)
}

// dismissed makes an error of the broker's end of a connection.
func dismissed(d *paho.Disconnect) error {
	if d.ReasonCode < 0x80 {
		return fmt.Errorf("%w: the broker ended the connection", driver.ErrAway)
	}
	text := ""
	if d.Properties != nil {
		text = d.Properties.ReasonString
	}
	return reason(d.ReasonCode, text)
}

// explain adds what an error of the network means.
func explain(err error) error {
	var untrusted *tls.CertificateVerificationError
	var op *net.OpError
	var network net.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &untrusted):
		return fmt.Errorf("%w: the broker's certificate is not trusted (name its authority by ca=FILE): %w",
			driver.ErrRefused, err)
	case errors.As(err, &op) && op.Op == "dial":
		return fmt.Errorf("%w: %w: %w", driver.ErrNotStored, driver.ErrAway, err)
	case errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, net.ErrClosed):
		return fmt.Errorf("%w: %w", driver.ErrAway, err)
	}
	return err
}
