package api_test

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"text/template"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

const canary = "canary-3f9a"

// holder has a value in every place where a careless program might put one.
type holder struct {
	Value   api.Value
	Pointer *api.Value
	List    []api.Value
	Map     map[string]api.Value
	Any     any
	Key     api.Key
	Set     api.Snapshot
	hidden  api.Value
}

func newHolder() holder {
	v := api.NewValue([]byte(canary))
	return holder{
		Value: v, Pointer: &v, List: []api.Value{v}, Map: map[string]api.Value{"k": v}, Any: v, Key: api.Key{Value: v},
		Set: api.Snapshot{Bound: []api.Bound{{Label: api.Label{ID: "bnd_1"}, Value: v}}}, hidden: v,
	}
}

// leaks reports whether out contains the canary in any form in which it could be printed.
func leaks(out string) bool {
	decimal := strings.Trim(fmt.Sprint([]byte(canary)), "[]")
	goBytes := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", []byte(canary)), "[]byte{"), "}")
	for _, form := range []string{
		canary, hex.EncodeToString([]byte(canary)), strings.ToUpper(hex.EncodeToString([]byte(canary))),
		base64.StdEncoding.EncodeToString([]byte(canary)), decimal, strings.ReplaceAll(decimal, " ", ","), goBytes,
	} {
		if strings.Contains(out, form) {
			return true
		}
	}
	return false
}

func TestLeaksSeesEveryForm(t *testing.T) {
	for _, verb := range []string{"%s", "%v", "%x", "%X", "%d", "%#v"} {
		if !leaks(fmt.Sprintf(verb, []byte(canary))) {
			t.Errorf("leaks does not detect %s", verb)
		}
	}
	if out, _ := json.Marshal([]byte(canary)); !leaks(string(out)) {
		t.Error("leaks does not detect base64 in JSON")
	}
}

func TestValueUnderEveryVerb(t *testing.T) {
	h := newHolder()
	for _, arg := range []any{h.Value, &h.Value, h.List, h.Map, h.Key, &h.Key, h.Set, &h.Set, h, &h, []any{h}} {
		for c := byte('A'); c <= 'z'; c++ {
			for _, flags := range []string{"", "+", "#", "-", " ", "0", "20.20"} {
				if out := fmt.Sprintf("%"+flags+string(c), arg); leaks(out) {
					t.Errorf("%%%s%c of %T leaks", flags, c, arg)
				}
			}
		}
	}
	for _, verb := range []string{"%v", "%s", "%d", "%#v", "%x"} {
		if got := fmt.Sprintf(verb, h.Value); got != api.Redacted {
			t.Errorf("%s prints %q, want %q", verb, got, api.Redacted)
		}
	}
}

func TestValueUnderEveryPrinter(t *testing.T) {
	h := newHolder()
	printers := map[string]func(io.Writer){
		"fmt.Fprint": func(w io.Writer) { fmt.Fprint(w, h, &h) },
		"log":        func(w io.Writer) { log.New(w, "", 0).Println(h, h.Value) },
		"slog text":  func(w io.Writer) { slog.New(slog.NewTextHandler(w, nil)).Info("m", "v", h.Value, "h", h) },
		"slog json":  func(w io.Writer) { slog.New(slog.NewJSONHandler(w, nil)).Info("m", "v", h.Value, "h", h) },
		"zerolog": func(w io.Writer) {
			l := zerolog.New(w)
			l.Info().Interface("h", h).Interface("v", h.Value).Any("p", &h).Stringer("s", h.Value).
				Fields(map[string]any{"v": h.Value, "h": h}).Msg("m")
			l.Info().Err(fmt.Errorf("with %v", h.Value)).Msgf("%v %+v", h, h.Value)
		},
		"text/template": func(w io.Writer) {
			_ = template.Must(template.New("").Parse(`{{.}} {{.Value}} {{.Key}} {{printf "%s %#v" .Value .}}{{range .List}}{{.}}{{end}}`)).Execute(w, h)
		},
		"cmp.Diff": func(w io.Writer) {
			other := newHolder()
			other.Value = api.NewValue([]byte("other"))
			_, _ = io.WriteString(w, cmp.Diff(h, other, cmp.Exporter(func(reflect.Type) bool { return true }), cmp.AllowUnexported(holder{})))
		},
		"reflection walk": func(w io.Writer) { walk(w, reflect.ValueOf(h), 0) },
		"panic":           func(w io.Writer) { defer func() { fmt.Fprint(w, recover()) }(); panic(h) },
		"error":           func(w io.Writer) { fmt.Fprint(w, errors.Join(fmt.Errorf("a %s", h.Key), fmt.Errorf("b %q", h.List))) },
	}
	for name, print := range printers {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			print(&out)
			if leaks(out.String()) {
				t.Error("leaks the value")
			}
		})
	}
}

// walk prints everything that reflection can read, including unexported fields, as debuggers do.
func walk(w io.Writer, v reflect.Value, depth int) {
	if depth > 20 || !v.IsValid() {
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		walk(w, v.Elem(), depth+1)
	case reflect.Struct:
		for i := range v.NumField() {
			walk(w, v.Field(i), depth+1)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			walk(w, v.Index(i), depth+1)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			walk(w, k, depth+1)
			walk(w, v.MapIndex(k), depth+1)
		}
	case reflect.String:
		fmt.Fprintln(w, v.String())
	default:
		fmt.Fprintf(w, "%v ", v)
	}
}

func TestValueInEveryEncoder(t *testing.T) {
	v := api.NewValue([]byte(canary))
	key := api.Key{Value: v}
	encoders := map[string]func(io.Writer, any) error{
		"json": func(w io.Writer, x any) error { return json.NewEncoder(w).Encode(x) },
		"json indent": func(w io.Writer, x any) error {
			b, err := json.MarshalIndent(x, "", " ")
			_, _ = w.Write(b)
			return err
		},
		"gob": func(w io.Writer, x any) error { return gob.NewEncoder(w).Encode(x) },
		"xml": func(w io.Writer, x any) error { return xml.NewEncoder(w).Encode(x) },
	}
	arguments := map[string]any{
		"value": v, "pointer": &v, "key": key, "pointer to key": &key, "list": []api.Value{v},
		"bound":    api.Bound{Value: v},
		"snapshot": api.Snapshot{Bound: []api.Bound{{Value: v}}},
		"field":    struct{ V api.Value }{v},
		"attribute": struct {
			V api.Value `xml:"v,attr"`
		}{v},
	}
	for name, encode := range encoders {
		for what, arg := range arguments {
			t.Run(name+" "+what, func(t *testing.T) {
				var out bytes.Buffer
				err := encode(&out, arg)
				if err == nil {
					t.Error("encodes without an error")
				} else if leaks(err.Error()) {
					t.Error("the error leaks the value")
				}
				if leaks(out.String()) {
					t.Error("leaks the value")
				}
			})
		}
	}
	for name, marshal := range map[string]func() ([]byte, error){
		"text": v.MarshalText, "json": v.MarshalJSON, "binary": v.MarshalBinary, "gob": v.GobEncode,
	} {
		if out, err := marshal(); !errors.Is(err, api.ErrNotMarshalable) || out != nil {
			t.Errorf("marshal %s: %v, want %v", name, err, api.ErrNotMarshalable)
		}
	}
	// Encoders refuse a value as a map key, and programs cannot compare values.
	if _, err := json.Marshal(map[string]any{"k": v}); err == nil {
		t.Error("json encodes a map that contains a value")
	}
}

func TestValue(t *testing.T) {
	v := api.NewValue([]byte(canary))
	same := v
	var zero api.Value
	if v.Reveal() != canary || v.Len() != len(canary) || zero.Reveal() != "" || zero.Len() != 0 {
		t.Fatal("a value differs from its input")
	}
	for _, tt := range []struct {
		name string
		a, b api.Value
		want bool
	}{
		{"itself", v, same, true},
		{"the same bytes", v, api.NewValue([]byte(canary)), true},
		{"other bytes", v, api.NewValue([]byte("canary-3f9b")), false},
		{"a prefix", v, api.NewValue([]byte("canary")), false},
		{"zero and empty", zero, api.NewValue(nil), true},
		{"zero and not", zero, v, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.a.Equal(tt.b); got != tt.want {
				t.Errorf("equal = %v, want %v", got, tt.want)
			}
		})
	}
	v.Wipe()
	zero.Wipe()
	if got := same.Reveal(); got != strings.Repeat("\x00", len(canary)) {
		t.Error("a copy still holds the bytes after a wipe")
	}
}

// A lent value is read in place, and its owner is notified of the end of each use.
func TestLentValue(t *testing.T) {
	memory := []byte("xx" + canary)
	var out, uses int
	v := api.NewLentValue(func(use func([]byte)) {
		out++
		defer func() { out--; uses++ }()
		use(memory[2:])
	})
	if v.Reveal() != canary || v.Len() != len(canary) || !v.Equal(api.NewValue([]byte(canary))) || !v.Equal(v) {
		t.Error("a lent value differs from its memory")
	}
	v.Use(func(b []byte) {
		if &b[0] != &memory[2] || out != 1 {
			t.Errorf("used a copy, or %d lent", out)
		}
	})
	v.Wipe()
	if string(memory) != "xx"+strings.Repeat("\x00", len(canary)) {
		t.Error("the memory is not wiped, or more than was lent is wiped")
	}
	if out != 0 || uses != 7 {
		t.Errorf("%d still lent, %d uses", out, uses)
	}
	api.Value{}.Use(func(b []byte) {
		if b != nil {
			t.Error("the zero value lends something")
		}
	})
	for _, verb := range []string{"%v", "%s", "%x", "%#v"} {
		if got := fmt.Sprintf(verb, v); got != api.Redacted {
			t.Errorf("%s prints %q", verb, got)
		}
	}
}
