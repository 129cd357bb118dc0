package deedmem

import (
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
)

// fillLog appends n messages in pieces of a few and returns them as deliveries.
func fillLog(l *log, n, each int) []driver.Delivery {
	at := time.Unix(1_800_000_000, 5).UTC()
	want := make([]driver.Delivery, n)
	for first := 0; first < n; first += each {
		var ms []driver.Message
		for i := first; i < min(first+each, n); i++ {
			m := driver.Message{
				ID: strconv.Itoa(i), Source: "/" + strconv.Itoa(i%3), Type: "t", Version: i % 5, Key: "k" + strconv.Itoa(i%7),
				ContentType: "text/plain", Time: at.Add(time.Duration(i)), Data: []byte(strconv.Itoa(i)),
			}
			switch i % 4 {
			case 1:
				m.Attributes = map[string]string{"subject": "", "long": string(make([]byte, 300))}
			case 2:
				m.NotBefore = at.Add(-time.Duration(i))
			case 3:
				m.Time = time.Time{}
			}
			ms = append(ms, m)
			want[i] = driver.Delivery{Message: m, Stored: at}
		}
		from := reader{piece: newPiece(ms)}
		for i := range ms {
			l.add(&ms[i], from.next(&ms[i]), from.piece, at)
		}
	}
	return want
}

func TestLogKeepsEveryField(t *testing.T) {
	for _, each := range []int{1, 5, 100} {
		var l log
		for i, want := range fillLog(&l, 3*chunkSize+1, each) {
			var got driver.Delivery
			l.read(int64(i+1), &got)
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("in pieces of %d, position %d\n got %+v\nwant %+v", each, i+1, got, want)
			}
		}
	}
}

// TestTrimLetsPiecesGo checks that what was removed does not stay in memory until the
// rest of its chunk goes, and that what was not is still there.
func TestTrimLetsPiecesGo(t *testing.T) {
	var l log
	const n, each = 2 * chunkSize, 10
	want := fillLog(&l, n, each)
	for gone := 1; gone < n; gone++ {
		if bytes := l.trim(); bytes != len(want[gone-1].Data) {
			t.Fatalf("position %d had %d bytes, want %d", gone, bytes, len(want[gone-1].Data))
		}
		pieces := 0
		for _, c := range l.chunks {
			for _, p := range c.pieces {
				if p != nil {
					pieces++
				}
			}
		}
		// The first piece may be in use in part, and one lies in both chunks.
		if most := (n-gone)/each + 3; pieces > most {
			t.Fatalf("%d pieces are kept for %d events, want at most %d", pieces, n-gone, most)
		}
		var got driver.Delivery
		if l.read(int64(gone+1), &got); got.ID != want[gone].ID {
			t.Fatalf("position %d is event %s, want %s", gone+1, got.ID, want[gone].ID)
		}
	}
}
