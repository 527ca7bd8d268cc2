package vault

import (
	"net/url"
	"reflect"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/Miosa-osa/miosa-env/api"
)

// readQuery sets the fields of a struct from a query, by their "query" tags. Other parameters are ignored.
// Errors: ErrMalformed; ErrInvalid, naming the first invalid parameter in the order of the fields.
func readQuery(text string, into any) error {
	q, err := url.ParseQuery(text)
	if err != nil || !utf8.ValidString(text) {
		return api.NewError(api.ErrMalformed, "the query can't be read")
	}
	v := reflect.ValueOf(into).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("query")
		given := q.Get(name)
		if given == "" {
			continue
		}
		switch field := v.Field(i).Addr().Interface().(type) {
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
			panic("query: a field of type " + v.Type().Field(i).Type.String())
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
