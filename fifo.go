package deed

import "slices"

// fifo is a first-in, first-out queue. Its memory follows what it holds.
type fifo[T any] struct {
	items []T
	first int
}

const fifoSlack = 64 // popped slots that are kept before the rest is moved

func (f *fifo[T]) len() int   { return len(f.items) - f.first }
func (f *fifo[T]) at(i int) T { return f.items[f.first+i] }
func (f *fifo[T]) push(v T)   { f.items = append(f.items, v) }

// insert puts v before the element at index i.
func (f *fifo[T]) insert(i int, v T) { f.items = slices.Insert(f.items, f.first+i, v) }

func (f *fifo[T]) pop() T {
	var none T
	v := f.items[f.first]
	f.items[f.first] = none
	f.first++
	if f.first == len(f.items) {
		f.items, f.first = f.items[:0], 0
	}
	if f.first >= fifoSlack && f.first*2 >= len(f.items) {
		n := copy(f.items, f.items[f.first:])
		clear(f.items[n:])
		f.items, f.first = f.items[:n], 0
	}
	return v
}
