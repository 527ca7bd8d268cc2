import java.io.*;
import java.net.URI;
import java.net.http.*;

class Client {
    public static void main(String[] args) throws Exception {
        var client = HttpClient.newHttpClient();
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = lines.readLine()) != null; ) {
            var request = HttpRequest.newBuilder(URI.create(line)).header("Authorization", "Bearer " + System.getenv("API_TOKEN")).build();
            var response = client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(response.statusCode() + " " + response.body().strip());
        }
    }
}
