package scrub

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/andybalholm/brotli"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/needs"
)

const secret = `sk_live_51H8xQ2+eZvK/Ylo2C0a"Bc`

func scrubber(values ...string) *Scrubber {
	list := make([]api.Value, len(values))
	for i, v := range values {
		list[i] = api.NewValue([]byte(v))
	}
	return New(list)
}

// encoders encode bodies by content encoding.
var encoders = map[string]func(w io.Writer) io.WriteCloser{
	"gzip":   func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
	"x-gzip": func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
	"deflate": func(w io.Writer) io.WriteCloser {
		return zlib.NewWriter(w)
	},
	"br": func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) },
	"zstd": func(w io.Writer) io.WriteCloser {
		e, err := zstd.NewWriter(w)
		if err != nil {
			panic(err)
		}
		return e
	},
}

func encode(t testing.TB, text string, to func(w io.Writer) io.WriteCloser) string {
	t.Helper()
	var b bytes.Buffer
	w := to(&b)
	_, err := io.WriteString(w, text)
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// scrubbed returns a body after it was scrubbed.
func scrubbed(t testing.TB, s *Scrubber, body io.Reader, h http.Header) string {
	t.Helper()
	r, err := s.Body(io.NopCloser(body), h)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// formsOfSecret are ways in which servers return a value.
func formsOfSecret(t testing.TB) map[string]string {
	quoted, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{
		"plain": secret, "query": url.QueryEscape(secret), "path": url.PathEscape(secret), "JSON": string(quoted), "hex": hex.EncodeToString([]byte(secret)),
		"HTML": strings.ReplaceAll(secret, `"`, "&quot;"),
	}
	for shift := range 3 {
		text := "ab:"[:shift] + secret + "xyz"[:shift]
		all["Base64 "+string(rune('0'+shift))] = base64.StdEncoding.EncodeToString([]byte(text))
		all["Base64 for URLs "+string(rune('0'+shift))] = base64.RawURLEncoding.EncodeToString([]byte(text))
	}
	return all
}

func TestAttack_Echo(t *testing.T) {
	s := scrubber(secret)
	for name, form := range formsOfSecret(t) {
		t.Run(name, func(t *testing.T) {
			for _, around := range [][2]string{{"", ""}, {"got: ", " end"}, {`{"a":"`, `"}`}, {"> Authorization: Bearer ", "\r\n"}} {
				text := around[0] + form + around[1]
				got := scrubbed(t, s, strings.NewReader(text), http.Header{})
				// Quotes, and characters of Base64 that also encode neighbors, may be left.
				if left := len(form) - strings.Count(got, "*"); len(got) != len(text) || left > 12 {
					t.Errorf("%s was scrubbed to %q", text, got)
				}
				h := http.Header{"X-Echo": {"no", text}}
				if s.Header(h); h["X-Echo"][1] != got || h["X-Echo"][0] != "no" {
					t.Errorf("the header is %q", h["X-Echo"])
				}
			}
		})
	}
}

// A value is found wherever the stream is split, encoded or not.
func TestAttack_SplitsAtEveryByte(t *testing.T) {
	s := scrubber(secret, "another-value")
	text := "start " + secret + " middle another-value" + secret + " sk_live_ end sk_li"
	want := strings.ReplaceAll(strings.ReplaceAll(text, secret, strings.Repeat("*", len(secret))), "another-value", "*************")
	for cut := range len(text) + 1 {
		body := io.MultiReader(strings.NewReader(text[:cut]), strings.NewReader(text[cut:]))
		if got := scrubbed(t, s, body, http.Header{}); got != want {
			t.Fatalf("split at %d: %q", cut, got)
		}
	}
	if got := scrubbed(t, s, iotest.OneByteReader(strings.NewReader(text)), http.Header{}); got != want {
		t.Errorf("by byte: %q", got)
	}
	for name, encoder := range encoders {
		encoded := encode(t, text, encoder)
		if got := scrubbed(t, s, iotest.OneByteReader(strings.NewReader(encoded)), http.Header{"Content-Encoding": {name}}); got != want {
			t.Errorf("%s by byte: %q", name, got)
		}
	}
	r, err := s.Body(io.NopCloser(strings.NewReader(text)), http.Header{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(iotest.OneByteReader(r)); err != nil || string(got) != want {
		t.Errorf("read by byte: %q, %v", got, err)
	}
}

// Padding and compression don't hide a value.
func TestAttack_PaddedAndCompressedEcho(t *testing.T) {
	s := scrubber(secret)
	for _, padding := range []int{0, 1, 100, bufferSize - 10, 3*bufferSize - 3} {
		text := strings.Repeat("x", padding) + secret + strings.Repeat("sk_live_", 1000) + secret
		want := strings.ReplaceAll(text, secret, strings.Repeat("*", len(secret)))
		for name, encoder := range encoders {
			h := http.Header{"Content-Encoding": {name}, "Content-Length": {"17"}, "Etag": {`"x"`}, "Content-Digest": {"x"}, "Vary": {"Accept-Encoding"}}
			if got := scrubbed(t, s, strings.NewReader(encode(t, text, encoder)), h); got != want {
				t.Errorf("%s with %d bytes before the value: %d bytes, want %d", name, padding, len(got), len(want))
			}
			if diff := cmp.Diff(http.Header{"Etag": {`W/"x"`}, "Vary": {"Accept-Encoding"}}, h); diff != "" {
				t.Errorf("%s: headers (-want +got):\n%s", name, diff)
			}
		}
		if got := scrubbed(t, s, strings.NewReader(text), http.Header{}); got != want {
			t.Errorf("plain with %d bytes before the value: %d bytes, want %d", padding, len(got), len(want))
		}
	}
}

func TestEncodings(t *testing.T) {
	s := scrubber(secret)
	text := "a " + secret
	want := "a " + strings.Repeat("*", len(secret))
	raw := encode(t, text, func(w io.Writer) io.WriteCloser {
		f, err := flate.NewWriter(w, 5)
		if err != nil {
			t.Fatal(err)
		}
		return f
	})
	twice := encode(t, encode(t, text, encoders["br"]), encoders["gzip"])
	members := encode(t, text[:5], encoders["gzip"]) + encode(t, text[5:], encoders["gzip"])
	for _, tt := range []struct {
		name, body string
		encoding   []string
	}{
		{"none", text, nil}, {"identity", text, []string{"identity"}}, {"empty", text, []string{""}}, {"case", encode(t, text, encoders["gzip"]), []string{" GZip "}},
		{"deflate without zlib", raw, []string{"deflate"}}, {"two", twice, []string{"br, gzip"}}, {"two headers", twice, []string{"br", "gzip"}},
		{"with identity", twice, []string{"identity, br", "identity,gzip"}}, {"members", members, []string{"gzip"}},
	} {
		if got := scrubbed(t, s, strings.NewReader(tt.body), http.Header{"Content-Encoding": tt.encoding}); got != want {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
	for _, encoding := range []string{"compress", "dcz", "gzip, gzip, gzip", "gzip;q=1", "aes128gcm", "gzip, exi"} {
		if _, err := s.Body(http.NoBody, http.Header{"Content-Encoding": {encoding}}); !errors.Is(err, ErrEncoding) {
			t.Errorf("%s: %v", encoding, err)
		}
	}
	for name := range encoders {
		for _, body := range []string{"not encoded at all", "\x00", encode(t, text, encoders[name])[:10]} {
			r, err := s.Body(io.NopCloser(strings.NewReader(body)), http.Header{"Content-Encoding": {name}})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err == nil || strings.Contains(string(got), secret) {
				t.Errorf("%s of an invalid body: %q, %v", name, got, err)
			}
		}
	}
}

// Responses without a body have no decoding error, parts of encoded bodies are refused.
func TestWithoutBodyAndParts(t *testing.T) {
	s := scrubber(secret)
	for name := range encoders {
		if got := scrubbed(t, s, http.NoBody, http.Header{"Content-Encoding": {name}}); got != "" {
			t.Errorf("%s: %q", name, got)
		}
		for _, h := range []http.Header{
			{"Content-Encoding": {name}, "Content-Range": {"bytes 0-9/100"}},
			{"Content-Encoding": {name}, "Content-Type": {"multipart/byteranges; boundary=x"}},
		} {
			if _, err := s.Body(http.NoBody, h); !errors.Is(err, ErrPart) {
				t.Errorf("%v: %v", h, err)
			}
		}
		if got := scrubbed(t, s, strings.NewReader(encode(t, "x", encoders[name])), http.Header{"Content-Encoding": {name}, "Content-Range": {"bytes */100"}}); got != "x" {
			t.Errorf("%s of an unsatisfiable range: %q", name, got)
		}
	}
	h := http.Header{"Content-Range": {"bytes 0-9/100"}, "Content-Length": {"20"}, "Etag": {`"x"`}}
	same := h.Clone()
	if got := scrubbed(t, s, strings.NewReader("0123 "+secret[:15]), h); got != "0123 "+strings.Repeat("*", 15) || !cmp.Equal(h, same) {
		t.Errorf("a part: %q, %v", got, h)
	}
	if got := scrubbed(t, s, strings.NewReader("0123 "+secret[:15]), http.Header{}); got != "0123 "+secret[:15] {
		t.Errorf("a whole body that ends like a value: %q", got)
	}
}

// stepReader returns one piece at each Read, and records how often it was called.
type stepReader struct {
	pieces []string
	reads  int
}

func (r *stepReader) Read(p []byte) (int, error) {
	if len(r.pieces) == 0 {
		return 0, io.EOF
	}
	r.reads++
	n := copy(p, r.pieces[0])
	r.pieces = r.pieces[1:]
	return n, nil
}

// An event is passed on before the next one is read.
func TestEventsAreNotHeldBack(t *testing.T) {
	s := scrubber(secret)
	events := []string{"data: one\n\n", "data: " + secret + "\n\n", "data: sk_live\n\n"}
	for _, tt := range []struct {
		name, kind string
		pieces     []string
	}{
		{"events", "text/event-stream", events},
		{"messages that end like the start of a value", "application/grpc+proto", []string{"message s", "message sk", "message " + secret, "s", "k"}},
	} {
		source := &stepReader{pieces: tt.pieces}
		r, err := s.Body(io.NopCloser(source), http.Header{"Content-Type": {tt.kind}})
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1000)
		for i, piece := range tt.pieces {
			n, err := r.Read(buf)
			if err != nil || n != len(piece) || source.reads != i+1 {
				t.Errorf("%s, piece %d: %d of %d bytes after %d reads, %v", tt.name, i, n, len(piece), source.reads, err)
			}
		}
	}
	for name, encoder := range encoders {
		if name == "x-gzip" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			to, from := io.Pipe()
			defer from.Close()
			r, err := s.Body(to, http.Header{"Content-Encoding": {name}})
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				w := encoder(from)
				for _, e := range events {
					_, _ = io.WriteString(w, e)
					_ = w.(interface{ Flush() error }).Flush()
				}
				// The stream stays open.
			}()
			want := strings.ReplaceAll(strings.Join(events, ""), secret, strings.Repeat("*", len(secret)))
			got := make([]byte, len(want))
			if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// Decoding needs little memory, however much a body grows.
func TestAttack_DecompressionBombs(t *testing.T) {
	s := scrubber(secret)
	size := int64(16 << 20)
	if needs.Raced {
		size = 1 << 20
	}
	for name, encoder := range encoders {
		t.Run(name, func(t *testing.T) {
			to, from := io.Pipe()
			go func() {
				w := encoder(from)
				zeros := make([]byte, 1<<20)
				for range size >> 20 {
					_, _ = w.Write(zeros)
				}
				_ = w.Close()
				_ = from.Close()
			}()
			encoded, err := io.ReadAll(to)
			if err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			r, err := s.Body(io.NopCloser(bytes.NewReader(encoded)), http.Header{"Content-Encoding": {name}})
			if err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&before)
			n, err := io.Copy(io.Discard, r)
			runtime.ReadMemStats(&after)
			if err != nil || n != size {
				t.Errorf("%d bytes, %v", n, err)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 12<<20 {
				t.Errorf("%d bytes of memory for %d bytes, %d encoded", used, n, len(encoded))
			}
		})
	}
	// Streams that require a larger window than browsers allow.
	for window, want := range map[int]bool{8 << 20: true, 16 << 20: false} {
		encoded := encode(t, strings.Repeat("x", 1<<20), func(w io.Writer) io.WriteCloser {
			e, err := zstd.NewWriter(w, zstd.WithWindowSize(window), zstd.WithEncoderLevel(zstd.SpeedFastest))
			if err != nil {
				t.Fatal(err)
			}
			return e
		})
		r, err := s.Body(io.NopCloser(strings.NewReader(encoded)), http.Header{"Content-Encoding": {"zstd"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(r); (err == nil) != want {
			t.Errorf("a window of %d bytes: %v", window, err)
		}
	}
}

func TestAccept(t *testing.T) {
	for _, tt := range []struct {
		name    string
		headers http.Header
		want    http.Header
	}{
		{"none", http.Header{}, http.Header{}},
		{"known", http.Header{"Accept-Encoding": {"gzip, deflate;q=0.5, br, zstd"}}, http.Header{"Accept-Encoding": {"gzip, deflate;q=0.5, br, zstd"}}},
		{"unknown", http.Header{"Accept-Encoding": {"dcz, GZIP", "compress, *"}}, http.Header{"Accept-Encoding": {"GZIP"}}},
		{"only unknown", http.Header{"Accept-Encoding": {"*"}}, http.Header{"Accept-Encoding": {"identity"}}},
		{"range", http.Header{"Range": {"bytes=0-9"}, "Accept-Encoding": {"gzip"}}, http.Header{"Range": {"bytes=0-9"}, "Accept-Encoding": {"identity"}}},
		{"WebSocket", http.Header{"Sec-Websocket-Extensions": {"permessage-deflate"}, "Sec-Websocket-Version": {"13"}}, http.Header{"Sec-Websocket-Version": {"13"}}},
	} {
		Accept(tt.headers)
		if diff := cmp.Diff(tt.want, tt.headers); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// A body that isn't in the encoding that its header names ends with an error, and can be closed.
func TestInvalidEncodings(t *testing.T) {
	s := scrubber(secret)
	for encoding := range decoders {
		for _, body := range []string{"not " + secret, "\x1f\x8b", "\x28\xb5\x2f\xfd", "\x78\x9c"} {
			r, err := s.Body(io.NopCloser(strings.NewReader(body)), http.Header{"Content-Encoding": {encoding}})
			if err != nil {
				t.Fatal(err)
			}
			if text, err := io.ReadAll(r); err == nil || strings.Contains(string(text), secret) {
				t.Errorf("%s of %q: %q, %v", encoding, body, text, err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// The messages of gRPC and Connect are decoded, and what can't be is refused.
func TestMessages(t *testing.T) {
	s := scrubber(secret)
	frame := func(flags byte, text string) string {
		return string(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(text)))) + text
	}
	stars := strings.Repeat("*", len(secret))
	gzipped := encode(t, "b "+secret, encoders["gzip"])
	for _, c := range []struct {
		name, media, header, encoding, body, want string
		refused                                   error // of Body
		broken                                    bool  // the end
	}{
		{name: "gRPC", media: "application/grpc+proto", header: "Grpc-Encoding", encoding: "gzip",
			body: frame(0, "a "+secret) + frame(1, gzipped) + frame(1, "") + frame(0, ""), want: frame(0, "a "+stars) + frame(0, "b "+stars) + frame(0, "") + frame(0, "")},
		{name: "zstd", media: "application/grpc", header: "Grpc-Encoding", encoding: "zstd",
			body: frame(1, encode(t, "c "+secret, encoders["zstd"])), want: frame(0, "c "+stars)},
		{name: "trailers of gRPC-Web", media: "application/grpc-web", header: "Grpc-Encoding", encoding: "GZIP",
			body: frame(1, gzipped) + frame(0x81, gzipped) + frame(0x80, "grpc-status: 0"), want: frame(0, "b "+stars) + frame(0x80, "b "+stars) + frame(0x80, "grpc-status: 0")},
		{name: "Connect", media: "application/connect+json", header: "Connect-Content-Encoding", encoding: "gzip", body: frame(3, gzipped), want: frame(2, "b "+stars)},
		{name: "no encoding", media: "application/grpc", header: "Grpc-Encoding", encoding: "identity", body: frame(1, "a "+secret), want: frame(1, "a "+stars)},
		{name: "a name", media: "text/plain", header: "Grpc-Encoding", encoding: "gzip", body: "a " + secret, want: "a " + stars},
		{name: "unknown", media: "application/grpc", header: "Grpc-Encoding", encoding: "snappy", refused: ErrEncoding},
		{name: "Base64", media: "application/grpc-web-text", header: "Grpc-Encoding", encoding: "gzip", refused: ErrEncoding},
		{name: "cut in the head", media: "application/grpc", header: "Grpc-Encoding", encoding: "gzip", body: frame(0, "a") + "\x00\x00", want: frame(0, "a"), broken: true},
		{name: "cut", media: "application/grpc", header: "Grpc-Encoding", encoding: "gzip", body: frame(0, "abc")[:7], want: frame(0, "abc")[:7], broken: true},
		{name: "cut where it is encoded", media: "application/grpc", header: "Grpc-Encoding", encoding: "gzip", body: frame(1, gzipped)[:9], broken: true},
		{name: "cut after the head", media: "application/grpc", header: "Grpc-Encoding", encoding: "gzip", body: frame(1, gzipped)[:5], broken: true},
		{name: "not encoded", media: "application/grpc", header: "Grpc-Encoding", encoding: "gzip", body: frame(1, "a "+secret), broken: true},
		{name: "too long", media: "application/grpc", header: "Grpc-Encoding", encoding: "gzip",
			body: frame(1, encode(t, strings.Repeat("a", maxMessage+1), encoders["gzip"])), broken: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, source := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.DataErrReader} {
				h := http.Header{"Content-Type": {c.media}, c.header: {c.encoding}, "Content-Length": {"7"}}
				r, err := s.Body(io.NopCloser(source(strings.NewReader(c.body))), h)
				if !errors.Is(err, c.refused) {
					t.Fatal(err)
				}
				if c.refused != nil {
					continue
				}
				got, err := io.ReadAll(r)
				if string(got) != c.want || (err != nil) != c.broken {
					t.Errorf("got %q, %v, want %q", got, err, c.want)
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	h := http.Header{"Grpc-Accept-Encoding": {"snappy,gzip, identity"}, "Connect-Accept-Encoding": {"snappy"}}
	if Accept(h); h.Get("Grpc-Accept-Encoding") != "gzip, identity" || h.Get("Connect-Accept-Encoding") != "identity" || len(h) != 2 {
		t.Errorf("accepted are %v", h)
	}
}

// A header or trailer whose name has a value is removed. Overwriting a part of the name would make another header of it.
func TestAttack_NameOfHeader(t *testing.T) {
	const token = "Tok_abcDEF123.xyz"
	s := scrubber(secret, token)
	for _, name := range []string{token, http.CanonicalHeaderKey(token), strings.ToLower(token), strings.ToUpper(token), "X-" + token + "-Is-It"} {
		h := http.Header{name: {"a"}, "X-Other": {"b"}, "X-Tok_abcdef123": {"c"}}
		if s.Header(h); len(h) != 2 {
			t.Errorf("%s: %v", name, h)
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-"+token, "a")
		w.Header().Set("Trailer", "Y-"+token)
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		w.Header().Set("Y-"+token, "b")
	}))
	defer server.Close()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Response(resp); err != nil {
		t.Fatal(err)
	}
	if len(resp.Trailer) != 0 {
		t.Errorf("trailers are announced: %v", resp.Trailer)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		t.Error(err)
	}
	if all := fmt.Sprint(resp.Header, resp.Trailer); strings.Contains(strings.ToLower(all), strings.ToLower(token)) {
		t.Error(all)
	}
}

// A whole response of a real server: headers, body and trailers.
func TestResponse(t *testing.T) {
	for _, encoding := range []string{"", "gzip", "deflate", "br", "zstd"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Sum")
			w.Header().Set("X-Value", secret)
			body := "a " + secret
			if encoding != "" {
				w.Header().Set("Content-Encoding", encoding)
				body = encode(t, body, encoders[encoding])
			}
			_, _ = io.WriteString(w, body)
			w.Header().Set("X-Sum", "b "+secret)
		}))
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept-Encoding", "identity") // as it is, for the client
		resp, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if err := scrubber(secret).Response(resp); err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		stars := strings.Repeat("*", len(secret))
		if err = errors.Join(err, resp.Body.Close()); err != nil || string(body) != "a "+stars {
			t.Errorf("%q: body %q, %v", encoding, body, err)
		}
		if resp.Header.Get("X-Value") != stars || resp.Trailer.Get("X-Sum") != "b "+stars || resp.Header.Get("Content-Encoding") != "" {
			t.Errorf("%q: headers %v, trailers %v", encoding, resp.Header, resp.Trailer)
		}
		server.Close()
	}
}

func FuzzBody(f *testing.F) {
	f.Add([]byte("a "+secret+" b"), "", 3)
	f.Add([]byte(encode(f, "a "+secret, encoders["gzip"])), "gzip", 1)
	f.Add([]byte(encode(f, "a "+secret, encoders["br"])), "br", 7)
	f.Add([]byte(encode(f, "a "+secret, encoders["zstd"])), "zstd", 2)
	f.Add([]byte(encode(f, "a "+secret, encoders["deflate"])), "deflate", 2)
	s := scrubber(secret)
	f.Fuzz(func(t *testing.T, body []byte, encoding string, cut int) {
		cut = max(0, min(cut, len(body)))
		r, err := s.Body(io.NopCloser(io.MultiReader(bytes.NewReader(body[:cut]), bytes.NewReader(body[cut:]))), http.Header{"Content-Encoding": {encoding}})
		if err != nil {
			return
		}
		text, err := io.ReadAll(io.LimitReader(r, 1<<22))
		if bytes.Contains(text, []byte(secret)) {
			t.Error("the value is left")
		}
		if encoding == "" && (err != nil || len(text) != len(body)) {
			t.Errorf("%d bytes of %d, %v", len(text), len(body), err)
		}
		// The value anywhere in an encoded body.
		if encoder := encoders[encoding]; encoder != nil {
			encoded := encode(t, string(body[:cut])+secret+string(body[cut:]), encoder)
			if got := scrubbed(t, s, strings.NewReader(encoded), http.Header{"Content-Encoding": {encoding}}); strings.Contains(got, secret) || len(got) != len(body)+len(secret) {
				t.Errorf("%s: %d bytes, want %d", encoding, len(got), len(body)+len(secret))
			}
		}
	})
}

// A closed reader keeps nothing of the response: its buffer is used for others.
func TestCloseClearsTheBuffer(t *testing.T) {
	body, err := scrubber(secret).Body(io.NopCloser(strings.NewReader("echo "+secret+" and more")), http.Header{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := body.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	buf := body.(*reader).buf
	if err := body.Close(); err != nil {
		t.Fatal(err)
	}
	if len(buf) != bufferSize || len(bytes.Trim(buf, "\x00")) != 0 {
		t.Errorf("the buffer has %d bytes and isn't cleared", len(buf))
	}
	if n, err := body.Read(make([]byte, 5)); n != 0 || err == nil {
		t.Errorf("read %d bytes after Close, %v", n, err)
	}
	if err := body.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
}
