package vault

import (
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/Miosa-osa/miosa-env/api"
)

// query is what stands behind the "?" of a list. Parameters we don't know are ignored.
type query url.Values

func (c *call) query() (query, error) {
	q, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil || !utf8.ValidString(c.r.URL.RawQuery) {
		return nil, api.NewError(api.ErrMalformed, "the query can't be read")
	}
	return query(q), nil
}

func (q query) text(name string) string { return url.Values(q).Get(name) }

// number reads a whole number of at least 1; absent is 0. The first problem goes into err.
func (q query) number(name string, err *error) int {
	text := q.text(name)
	if text == "" {
		return 0
	}
	n, bad := strconv.Atoi(text)
	if (bad != nil || n < 1) && *err == nil {
		*err = api.NewError(api.ErrInvalid, name+" must be a whole number of at least 1")
	}
	return n
}

// moment reads a time; absent is nil. The first problem goes into err.
func (q query) moment(name string, err *error) *time.Time {
	text := q.text(name)
	if text == "" {
		return nil
	}
	if ago, ok := api.ParseAgo(text); ok {
		t := time.Now().Add(-ago)
		return &t
	}
	t, bad := time.Parse(time.RFC3339, text)
	if bad != nil && *err == nil {
		*err = api.NewError(api.ErrInvalid, name+" must be a time such as 2030-01-02T03:04:05Z, or how long ago it was, such as 7d")
	}
	return &t
}
