package vault

import (
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/nearest"
	"github.com/Miosa-osa/miosa-env/vault/visible"
)

// readQuery sets the fields of a struct from a query, by their "query" tags.
// Errors: ErrMalformed; ErrInvalid, naming the first invalid parameter in the order of the fields, or one that isn't a field: a
// list that ignored a filter would show what wasn't asked for.
func readQuery(query string, into any) error {
	q, err := url.ParseQuery(query)
	if err != nil || !utf8.ValidString(query) {
		return api.NewError(api.ErrMalformed, "the query can't be read")
	}
	v := reflect.ValueOf(into).Elem()
	var known []string
	for _, f := range reflect.VisibleFields(v.Type()) {
		if f.Anonymous {
			continue
		}
		name := f.Tag.Get("query")
		known = append(known, name)
		given := q.Get(name)
		if given == "" {
			continue
		}
		if !visible.Text(given) {
			return api.NewError(api.ErrInvalid, name+" must be text without control, bidirectional or zero-width characters")
		}
		switch field := v.FieldByIndex(f.Index).Addr().Interface().(type) {
		case *string:
			*field = given
		case *int:
			if *field, err = strconv.Atoi(given); err != nil || *field < 1 {
				return api.NewError(api.ErrInvalid, name+" must be a whole number of at least 1")
			}
		case **time.Time:
			if *field = parseTime(given); *field == nil {
				return api.NewError(api.ErrInvalid, name+" must be a time such as 2030-01-02T03:04:05Z, or how long ago it was, such as 7d")
			}
		default:
			panic("query: a field of type " + f.Type.String())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(q)) {
		if !slices.Contains(known, name) {
			return api.NewError(api.ErrInvalid, "the query has a parameter that this route doesn't take"+nearest.OrMeant(nearest.Word(name, known))+
				"; it takes "+strings.Join(known, ", "))
		}
	}
	return nil
}

// parseTime returns nil for text that is no time.
func parseTime(text string) *time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if ago, ok := api.ParseAgo(text); ok {
		t, err = time.Now().Add(-ago), nil
	}
	if err != nil {
		return nil
	}
	return &t
}
