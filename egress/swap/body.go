package swap

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/Miosa-osa/miosa-env/egress/rule"
)

// Limits of bodies that are read, in bytes: of one, and of all at the same time. Those that are changed are copied.
const (
	maxBody    = 1 << 20
	maxReading = 64 << 20
)

// body is a body that was read.
type body struct {
	text    []byte
	changed []byte // nil: it wasn't
	source  io.ReadCloser
	release func() // gives up its part of Table.reading; may be called again
}

// checksums are the headers, in lower case, that depend on the body's bytes; one that ends with "-" is a prefix.
var checksums = []string{"content-md5", "digest", "content-digest", "repr-digest", "x-amz-checksum-"}

// readBody reads the body, unless it was read before. A refusal names the binding i. Errors: *Refusal; those of reading.
func (c *change) readBody(i int) error {
	if c.body != nil {
		return nil
	}
	c.body = &body{source: c.r.Body}
	if c.r.Body == nil || c.r.Body == http.NoBody {
		return nil
	}
	large := c.refuse(i, "a rule needs the body, which is larger than "+strconv.Itoa(maxBody>>20)+" MiB", "egress.slots")
	if c.r.ContentLength > maxBody {
		return large
	}
	size := c.r.ContentLength
	if size < 0 {
		size = maxBody
	}
	if c.table.reading.Add(size) > maxReading {
		c.table.reading.Add(-size)
		busy := c.refuse(i, "too many requests have bodies that a rule needs", "egress.slots")
		busy.Busy = true
		return busy
	}
	c.body.release = sync.OnceFunc(func() { c.table.reading.Add(-size) })
	text, err := io.ReadAll(io.LimitReader(c.r.Body, maxBody+1))
	if err == nil && len(text) > maxBody {
		err = large
	}
	c.body.text = text
	return err
}

// drop gives up a body that isn't sent. b may be nil.
func (b *body) drop() {
	if b != nil && b.release != nil {
		b.release()
	}
}

// findInBody finds placeholders in those fields of the body that rules name.
func (c *change) findInBody() error {
	if len(c.table.fields) == 0 {
		return nil
	}
	kind := bodyKind(c.r.Header)
	if kind == "" {
		return nil
	}
	for _, i := range c.table.fields {
		for _, slot := range c.table.bindings[i].slots {
			if slot.Kind != kind || !c.allows(i, slot) {
				continue
			}
			if err := c.readBody(i); err != nil {
				return err
			}
			return c.replaceFields(kind)
		}
	}
	return nil
}

func (c *change) replaceFields(kind rule.Kind) error {
	if !c.contains(string(c.body.text)) && !strings.ContainsAny(string(c.body.text), `%\`) {
		return nil
	}
	if kind == rule.JSON {
		changed, err := c.replaceJSON(c.body.text)
		c.body.changed = changed
		return err
	}
	changed, n, err := c.replacePairs(string(c.body.text), rule.Form)
	if n > 0 {
		c.body.changed = []byte(changed)
	}
	return err
}

// bodyKind returns the kind of slots that a body may have, or "".
func bodyKind(h http.Header) rule.Kind {
	if len(h["Content-Type"]) != 1 || len(h["Content-Encoding"]) > 0 {
		return ""
	}
	kind, _, err := mime.ParseMediaType(h["Content-Type"][0])
	switch {
	case err != nil:
		return ""
	case kind == "application/json" || strings.HasSuffix(kind, "+json"):
		return rule.JSON
	case kind == "application/x-www-form-urlencoded":
		return rule.Form
	}
	return ""
}

// applyBody sets the request's body to the one that was read, with its swapped fields, and signs it if it has the signature of a
// webhook.
func (c *change) applyBody() error {
	if c.body == nil {
		return nil
	}
	if c.body.changed == nil {
		c.body.restore(c.r)
		return c.signWebhooks(c.body.text)
	}
	for name := range c.r.Header {
		for _, checksum := range checksums {
			if lower := strings.ToLower(name); lower == checksum || strings.HasSuffix(checksum, "-") && strings.HasPrefix(lower, checksum) {
				return c.refuse(c.uses[0].binding, "the header "+name+" has a checksum of the body, which a swap would make wrong", "")
			}
		}
	}
	c.r.Body = &buffer{rest: c.body.changed, text: c.body.changed, source: c.body.source, release: c.body.release}
	if len(c.r.Trailer) == 0 {
		c.r.ContentLength, c.r.TransferEncoding = int64(len(c.body.changed)), nil
	} else {
		c.r.ContentLength = -1 // trailers need chunks
	}
	if len(c.r.Header["Content-Length"]) > 0 {
		c.r.Header.Set("Content-Length", strconv.Itoa(len(c.body.changed)))
	}
	return c.signWebhooks(c.body.changed)
}

// restore puts a body that was read back, unchanged.
func (b *body) restore(r *http.Request) {
	if b != nil && b.source != nil && b.source != http.NoBody {
		r.Body = &buffer{rest: b.text, text: b.text, source: b.source, release: b.release}
	}
}

// buffer is a body in memory. It may be closed while it is read, as net/http does.
type buffer struct {
	mu     sync.Mutex
	rest   []byte
	text   []byte
	source io.Closer

	release func()
}

var errClosed = errors.New("read of a closed body")

func (b *buffer) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.text == nil {
		return 0, errClosed
	}
	if len(b.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// Close clears the text, which may have a value.
func (b *buffer) Close() error {
	b.mu.Lock()
	clear(b.text)
	b.text, b.rest = nil, nil
	b.mu.Unlock()
	b.release()
	return b.source.Close()
}
