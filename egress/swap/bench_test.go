package swap

import (
	"fmt"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
)

// BenchmarkRequest measures requests with a usual browser's headers against tables of different sizes.
func BenchmarkRequest(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		var list []api.Bound
		for i := range n {
			list = append(list, bound(fmt.Sprint("b", i), fmt.Sprintf("%s%026d", api.PlaceholderPrefix, i), "a value of a secret", to()))
		}
		t, err := New(api.Snapshot{Bound: list})
		if err != nil {
			b.Fatal(err)
		}
		plain := newRequest(b, "GET", "/api/v1/repos/acme/site/issues?state=open&per_page=100", "",
			"Accept", "application/vnd.github+json", "User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Accept-Encoding", "gzip, deflate, br, zstd",
			"Accept-Language", "en-US,en;q=0.5", "X-Github-Api-Version", "2022-11-28", "Cookie", "_octo=GH1.1.1234567890.1234567890; logged_in=no; tz=Europe%2FBerlin", "Referer", "https://github.com/acme/site/issues",
			"Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "Content-Type", "application/json", "Authorization", "Bearer ghp_16C7e42F292c6912E7710c838347Ae178B4a")
		swapped := plain.Clone(b.Context())
		for _, bench := range []struct {
			name string
			auth string
		}{{"without", plain.Header.Get("Authorization")}, {"bearer", fmt.Sprintf("Bearer %s%026d", api.PlaceholderPrefix, n/2)}, {"basic", basic(fmt.Sprintf("x:%s%026d", api.PlaceholderPrefix, n/2))}} {
			b.Run(fmt.Sprint(bench.name, "/", n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					swapped.Header["Authorization"] = []string{bench.auth}
					if _, err := t.Request(swapped, "api.example.com", 443); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
