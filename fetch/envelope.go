package fetch

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
)

// unwrap takes an answer out of its envelope: the first of names that holds an object or a list,
// twice at most ({"data": {"bindings": [...]}}). A bare object or list is returned as it is.
func unwrap(body []byte, names ...string) []byte {
	for range 2 {
		body = bytes.TrimSpace(body)
		var fields map[string]json.RawMessage
		if len(body) == 0 || body[0] != '{' || json.Unmarshal(body, &fields) != nil {
			return body
		}
		inner := body
		for _, name := range names {
			if v := bytes.TrimSpace(fields[name]); len(v) > 0 && (v[0] == '{' || v[0] == '[') {
				inner = v
				break
			}
		}
		if len(inner) == len(body) {
			return body
		}
		body = inner
	}
	return body
}

// one decodes a single object, bare or under "data" or noun.
func one[T any](noun string, id func(T) string) func([]byte) (T, error) {
	return func(body []byte) (T, error) {
		var got T
		if err := json.Unmarshal(unwrap(body, "data", noun), &got); err != nil || id(got) == "" {
			var none T
			return none, notDecoded(body, err)
		}
		return got, nil
	}
}

// list decodes a list, bare or under "data", one of nouns or "items". A null list is empty.
func list[T any](nouns ...string) func([]byte) ([]T, error) {
	names := append(append([]string{"data"}, nouns...), "items")
	return func(body []byte) ([]T, error) {
		inner := unwrap(body, names...)
		if len(inner) > 0 && inner[0] == '{' {
			var fields map[string]json.RawMessage
			if json.Unmarshal(inner, &fields) == nil && slices.ContainsFunc(names, func(n string) bool { return string(fields[n]) == "null" }) {
				return nil, nil
			}
			return nil, notContract(body)
		}
		var got []T
		if err := json.Unmarshal(inner, &got); err != nil {
			return nil, notDecoded(body, err)
		}
		return got, nil
	}
}

// page is one answer of a list that comes in several.
type page[T any] struct {
	items []T
	next  string // the cursor of the answer that follows, "" at the end
}

// pageOf decodes a list as list does, and where it goes on: next_cursor beside it, or under "meta" or "pagination"
// beside it. One that goes on (has_more) without saying where is refused: half of it would look like all.
func pageOf[T any](nouns ...string) func([]byte) (page[T], error) {
	return func(body []byte) (page[T], error) {
		items, err := list[T](nouns...)(body)
		if err != nil {
			return page[T]{}, err
		}
		got, more := page[T]{items: items}, false
		data := unwrap(body, "data")
		for _, text := range [][]byte{body, data, unwrap(body, "meta", "pagination"), unwrap(data, "meta", "pagination")} {
			var beside struct {
				Next string `json:"next_cursor"`
				More bool   `json:"has_more"`
			}
			if text = bytes.TrimSpace(text); text[0] == '{' && json.Unmarshal(text, &beside) != nil {
				return page[T]{}, notContract(body)
			}
			got.next, more = cmp.Or(got.next, beside.Next), more || beside.More
		}
		if more && got.next == "" {
			return page[T]{}, unusable("its list goes on (has_more) without a next_cursor")
		}
		return got, nil
	}
}

// maxPages is how many answers a list may take: a million items in pages of a hundred.
const maxPages = 10_000

// everything gives a list that may come in several answers: of gives the one at a cursor, and the cursor of the
// next. "" is the first, and what is behind the last.
func everything[T any](of func(cursor string) ([]T, string, error)) ([]T, error) {
	all, seen := []T{}, map[string]bool{} // an empty list is [] in JSON
	for cursor := ""; ; {
		part, next, err := of(cursor)
		if err != nil {
			return nil, err
		}
		all = append(all, part...)
		switch {
		case next == "":
			return all, nil
		case seen[next]:
			return nil, unusable("its list gives the same next_cursor twice")
		case len(seen) == maxPages:
			return nil, unusable("its list has no end")
		}
		seen[next] = true
		cursor = next
	}
}

// nothing is for calls whose answer says no more than its status.
func nothing([]byte) (struct{}, error) { return struct{}{}, nil }

// notContract explains an answer that doesn't decode. The decoder's own error quotes the body.
func notContract(body []byte) *Problem {
	p := &Problem{Reason: BadAnswer, Message: "the vault's answer isn't in the contract's form", Hint: "check that MIOSA_BASE_URL is a vault's, and of a version this program knows"}
	switch {
	case len(bytes.TrimSpace(body)) == 0:
		p.Message = "the vault's answer is empty"
	case !json.Valid(body):
		p.Message = "the vault's answer is broken JSON"
		p.Hint = "a proxy may have changed it or cut it short"
	}
	return p
}

// notDecoded is notContract with the name of a field of another type. It is one of ours: nothing is quoted.
func notDecoded(body []byte, err error) *Problem {
	p := notContract(body)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		p.Message += ": " + wrong.Field[1+strings.LastIndexByte(wrong.Field, '.'):] + " is of another type"
	}
	return p
}

func secretID(s api.Secret) string   { return s.ID }
func bindingID(b api.Binding) string { return b.ID }
func keyID(k api.ResourceKey) string { return k.ID }
func eventID(e api.Event) string     { return e.ID }
