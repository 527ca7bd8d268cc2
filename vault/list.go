package vault

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/Miosa-osa/miosa-env/vault/store"
)

const (
	// listMemory is what a page of a list takes, with its JSON.
	listMemory = 1 << 20
	// pageTime is how long a client may take to read a page.
	pageTime = 30 * time.Second
	// defaultLimit is that of a page whose cursor is given without a limit.
	defaultLimit = 100
)

// serveList makes a handler of a function that returns a page of what a query matches, and the cursor of the next one. Without
// a limit and a cursor the answer has all pages. It is written page by page, each read in a transaction of its own, so that
// neither memory nor a transaction grows with the list, or lasts as long as a slow client reads.
func serveList[F, T any](name string, page func(*F) *store.Page, fn func(context.Context, store.Actor, F) ([]T, string, error)) handler {
	return serveJSON(func(c *call, f F) (reply, error) {
		if err := c.memory.Grow(c.ctx(), listMemory); err != nil {
			return reply{}, err
		}
		p := page(&f)
		all := p.Limit == 0 && p.Cursor == ""
		if p.Limit == 0 && !all {
			p.Limit = defaultLimit
		}
		items, next, err := fn(c.ctx(), c.actor, f)
		if err != nil || next == "" || len(items) == p.Limit {
			return listOf(name, items, next), err
		}
		first, err := encodePage(c, items)
		if err != nil {
			return reply{}, err
		}
		l := &longList{name: name, first: first, all: all, next: next}
		l.more = func(cursor string) ([]byte, string, error) {
			p.Cursor = cursor
			if !all {
				if p.Limit -= len(items); p.Limit == 0 {
					return nil, cursor, io.EOF
				}
			}
			if items, next, err = fn(c.ctx(), c.actor, f); err != nil {
				return nil, "", err
			}
			text, err := encodePage(c, items)
			return text, next, err
		}
		return reply{body: l}, nil
	})
}

// encodePage returns the JSON of a page's items, without brackets. Errors: those of call.encode.
func encodePage[T any](c *call, items []T) ([]byte, error) {
	text, err := c.encode(items, listMemory)
	if err != nil {
		return nil, err
	}
	text = bytes.TrimSpace(text)
	return text[1 : len(text)-1], nil
}

// longList is the answer with a list of several pages.
type longList struct {
	name  string
	first []byte                                                     // the first page's items
	all   bool                                                       // the answer has no cursor
	next  string                                                     // cursor of the page after first
	more  func(cursor string) (items []byte, next string, err error) // io.EOF: the answer is full
}

// writeTo writes the answer, and returns its length. An error after its start breaks the connection, so that no client takes
// a part for the whole.
func (l *longList) writeTo(w http.ResponseWriter) (length int, err error) {
	conn := http.NewResponseController(w)
	w.Header().Set("Content-Type", "application/json")
	write := func(parts ...[]byte) {
		_ = conn.SetWriteDeadline(time.Now().Add(pageTime))
		for _, part := range parts {
			var n int
			if err == nil {
				n, err = w.Write(part)
			}
			length += n
		}
	}
	write([]byte(`{`+strconv.Quote(l.name)+`:[`), l.first)
	next := l.next
	for next != "" && err == nil {
		var items []byte
		items, next, err = l.more(next)
		if errors.Is(err, io.EOF) {
			err = nil
			break
		}
		if len(items) > 0 {
			write([]byte(`,`), items)
		}
	}
	write([]byte(`]`))
	if next != "" && !l.all {
		write([]byte(`,"next_cursor":`), bytes.TrimSpace(encode(next)))
	}
	write([]byte("}\n"))
	return length, err
}
