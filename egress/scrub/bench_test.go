package scrub

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// BenchmarkBody is to be compared with BenchmarkCopy, which copies the same bodies.
func BenchmarkBody(b *testing.B) {
	s := scrubber("sk_live_51H8xQ2eZvKYlo2C0aBcDeFgHiJkLmNoPqRsTuVwXyZ", "ghp_16C7e42F292c6912E7710c838347Ae178B4a")
	for name, text := range benchBodies() {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				r, err := s.Body(io.NopCloser(bytes.NewReader(text)), http.Header{})
				if err != nil {
					b.Fatal(err)
				}
				if n, err := io.Copy(onlyWriter{io.Discard}, r); err != nil || n != int64(len(text)) {
					b.Fatal(n, err)
				}
			}
		})
	}
	text := benchBodies()["log"]
	for name, encoder := range encoders {
		encoded := encode(b, string(text), encoder)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				r, err := s.Body(io.NopCloser(strings.NewReader(encoded)), http.Header{"Content-Encoding": {name}})
				if err != nil {
					b.Fatal(err)
				}
				if n, err := io.Copy(onlyWriter{io.Discard}, r); err != nil || n != int64(len(text)) {
					b.Fatal(n, err)
				}
			}
		})
	}
}

func BenchmarkCopy(b *testing.B) {
	for name, text := range benchBodies() {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			buf := make([]byte, bufferSize)
			for b.Loop() {
				if _, err := io.CopyBuffer(onlyWriter{io.Discard}, struct{ io.Reader }{bytes.NewReader(text)}, buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type onlyWriter struct{ io.Writer }

// benchBodies are bodies of 8 MiB.
func benchBodies() map[string][]byte {
	const size = 8 << 20
	fill := func(unit func(i int) string) []byte {
		var t bytes.Buffer
		for i := 0; t.Len() < size; i++ {
			t.WriteString(unit(i))
		}
		return t.Bytes()[:size]
	}
	state := uint64(1)
	random := func() uint64 {
		state = state*6364136223846793005 + 1442695040888963407
		return state >> 11
	}
	return map[string][]byte{
		"log": fill(func(i int) string {
			return fmt.Sprintf("2026-01-02T15:04:05Z INFO request id=%016x path=/api/v1/items/%d status=200 took=%dms\n", random(), i, random()%500)
		}),
		"JSON": fill(func(i int) string {
			return fmt.Sprintf(`{"id":%d,"name":"item %x","tags":["a","b"],"price":%d.5,"ok":true},`, i, random(), random()%1000)
		}),
		"binary": fill(func(int) string {
			r := random()
			return string([]byte{byte(r), byte(r >> 8), byte(r >> 16), byte(r >> 24), byte(r >> 32)})
		}),
		"zeros": make([]byte, size),
	}
}
