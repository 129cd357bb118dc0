package deed

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"sync"
	"time"
)

// NewID returns a UUIDv7 (RFC 9562): unique, and sorted by time to the millisecond.
func NewID() string {
	var s [idLen]byte
	writeID(s[:], randomBytes(), time.Now())
	return string(s[:])
}

// newIDs returns n IDs in one string, which costs a fraction of n times NewID.
func newIDs(n int) string {
	random := make([]byte, n*len(uuid{}))
	rand.Read(random) // never fails
	now := time.Now()
	var id [idLen]byte
	var text strings.Builder
	text.Grow(n * idLen)
	for i := range n {
		writeID(id[:], uuid(random[i*len(uuid{}):]), now)
		text.Write(id[:])
	}
	return text.String()
}

// idLen is the length of an ID as text.
const idLen = 36

type uuid [16]byte

// writeID makes an ID of random bytes and a time.
func writeID(s []byte, u uuid, now time.Time) {
	ms := uint64(now.UnixMilli())
	binary.BigEndian.PutUint64(u[:8], ms<<16|uint64(u[6])<<8|uint64(u[7]))
	u[6] = 0x70 | u[6]&0x0f
	u[8] = 0x80 | u[8]&0x3f
	hex.Encode(s[0:8], u[0:4])
	hex.Encode(s[9:13], u[4:6])
	hex.Encode(s[14:18], u[6:8])
	hex.Encode(s[19:23], u[8:10])
	hex.Encode(s[24:36], u[10:16])
	s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
}

// randomness is read in blocks, since a system call an id would cost more than all
// the rest of it.
var randomness struct {
	sync.Mutex
	block [1024]byte
	left  int
}

func randomBytes() (u uuid) {
	r := &randomness
	r.Lock()
	defer r.Unlock()
	if r.left == 0 {
		rand.Read(r.block[:]) // never fails
		r.left = len(r.block)
	}
	r.left -= copy(u[:], r.block[r.left-len(u):r.left])
	return u
}
