package main

import (
	"time"

	"github.com/deedgo/deed"
)

// [events]

// SignedUp says that somebody became a customer.
type SignedUp struct {
	Email      string `json:"email"`
	Name       string `json:"name"`
	Newsletter bool   `json:"newsletter"`
	Via        string `json:"via"` // the page or the import
}

// The topic is the log that the events lie in. Its id window makes publishing the
// same event again, by source and id, store nothing.
var signups = deed.NewTopic("signups", &deed.TopicOptions{Dedupe: 24 * time.Hour})

// The type ties SignedUp to a name and a version that outlive this program. The key
// is what order is kept by: events of one customer are handled one after the other.
var signedUp = deed.NewType(signups, "customers.signed-up", 1, func(s SignedUp) string { return s.Email })

// [events]
