package mask

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
)

// benchSecrets returns n typical secrets: keys, tokens, connection strings.
func benchSecrets(n int) []api.Bound {
	rnd := rand.New(rand.NewPCG(3, 4))
	word := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[rnd.IntN(64)]
		}
		return string(b)
	}
	var all []api.Bound
	for i := range n {
		value := []string{word(40), "sk_live_" + word(32), "postgres://app:" + word(20) + "@db.internal:5432/app?sslmode=require", "ey" + word(300)}[i%4]
		all = append(all, named(fmt.Sprint("SECRET_", i), value))
	}
	return all
}

func benchWrites(b *testing.B, m *Masker, text []byte, step int) {
	w := m.Writer(io.Discard)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		for at := 0; at < len(text); at += step {
			if _, err := w.Write(text[at:min(len(text), at+step)]); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkMask(b *testing.B) {
	const size = 1 << 20
	secrets := benchSecrets(20)
	m, _ := New(secrets)
	fill := func(unit func() string) []byte {
		var t bytes.Buffer
		for t.Len() < size {
			t.WriteString(unit())
		}
		return t.Bytes()[:size]
	}
	source, err := os.ReadFile("writer.go")
	if err != nil {
		b.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(5, 6))
	texts := []struct {
		name string
		text []byte
	}{
		{"source", fill(func() string { return string(source) })},
		{"log", fill(func() string {
			return fmt.Sprintf("2026-01-02T15:04:05Z INFO request id=%016x path=/api/v1/items/%d status=200 took=%dms\n", rnd.Uint64(), rnd.IntN(1e6), rnd.IntN(500))
		})},
		{"base64", fill(func() string { return benchSecretsText(rnd) })},
		{"secrets", fill(func() string { return secrets[rnd.IntN(20)].Value.Reveal() + "\n" })},
		{"starts of secrets", fill(func() string {
			v := secrets[rnd.IntN(20)].Value.Reveal()
			return v[:len(v)-1-rnd.IntN(10)]
		})},
		{"zeros", make([]byte, size)},
	}
	for _, t := range texts {
		b.Run(t.name, func(b *testing.B) { benchWrites(b, m, t.text, 32<<10) })
	}
	b.Run("log by line", func(b *testing.B) { benchWrites(b, m, texts[1].text, 100) })
	b.Run("log by byte", func(b *testing.B) { benchWrites(b, m, texts[1].text, 1) })
}

func benchSecretsText(rnd *rand.Rand) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	var line [77]byte
	for i := range line {
		line[i] = digits[rnd.IntN(64)]
	}
	line[76] = '\n'
	return string(line[:])
}

// BenchmarkMaskHostile uses secrets and texts that are the most expensive to mask.
func BenchmarkMaskHostile(b *testing.B) {
	const size = 1 << 20
	long := 100_000
	fibonacci := [2]string{"a", "ab"} // the worst text for following suffixes
	for len(fibonacci[1]) < size {
		fibonacci = [2]string{fibonacci[1], fibonacci[1] + fibonacci[0]}
	}
	var nested []api.Bound
	for i := range 20 {
		nested = append(nested, named("A", strings.Repeat("a", 1000*(i+1))+"b"))
	}
	for _, tc := range []struct {
		name    string
		secrets []api.Bound
		text    string
		step    int
	}{
		{"same byte", []api.Bound{named("A", strings.Repeat("a", long))}, strings.Repeat("a", size), 32 << 10},
		{"same byte, never found", []api.Bound{named("A", strings.Repeat("a", long)+"b")}, strings.Repeat("a", size), 32 << 10},
		{"same byte by byte", []api.Bound{named("A", strings.Repeat("a", long)+"b")}, strings.Repeat("a", size), 1},
		{"fails at the end", []api.Bound{named("A", strings.Repeat("a", long)+"b")}, strings.Repeat(strings.Repeat("a", long)+"c", size/long), 32 << 10},
		{"fibonacci", []api.Bound{named("A", fibonacci[1][:long]+"c")}, fibonacci[1][:size], 32 << 10},
		{"nested", nested, strings.Repeat(strings.Repeat("a", 20_000)+"c", size/20_001), 32 << 10},
	} {
		m, _ := New(tc.secrets)
		b.Run(tc.name, func(b *testing.B) { benchWrites(b, m, []byte(tc.text), tc.step) })
	}
}

// BenchmarkNewMasker also reports the memory that a Masker keeps, in bytes per byte of the values.
func BenchmarkNewMasker(b *testing.B) {
	random := make([]byte, 128<<10)
	rnd := rand.New(rand.NewPCG(7, 8))
	for i := range random {
		random[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[rnd.IntN(64)]
	}
	var bundle strings.Builder
	for at := 0; at < 64<<10; at += 64 {
		bundle.Write(random[at : at+64])
		bundle.WriteByte('\n')
	}
	document := strings.Repeat(`{"name": "a <b> & 'c'", "path": "/x/y=z"},`+"\n", 128<<10/43)
	for _, tc := range []struct {
		name    string
		secrets []api.Bound
	}{
		{"5 secrets", benchSecrets(5)},
		{"20 secrets", benchSecrets(20)},
		{"100 secrets", benchSecrets(100)},
		{"1024 lines of base64", []api.Bound{named("A", bundle.String())}},
		{"128 KiB of base64", []api.Bound{named("A", string(random))}},
		{"128 KiB of JSON", []api.Bound{named("A", document)}},
	} {
		b.Run(tc.name, func(b *testing.B) {
			size := 0
			for _, s := range tc.secrets {
				size += s.Value.Len()
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if m, _ := New(tc.secrets); m == nil {
					b.Fatal("no masker")
				}
			}
			b.StopTimer()
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			m, _ := New(tc.secrets)
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(size), "B-kept/B")
			runtime.KeepAlive(m)
		})
	}
}
