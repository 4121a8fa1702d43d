//! The limit of hyper: one thread, one runtime, and a service that answers every request with the same reply.
//! Set up as our frontend sets it up, but without deadlines. What our tracker takes beyond this is its own.
//!
//! `bare-hyper ADDRESS`. Connections end when clients ask for it.

use std::convert::Infallible;
use std::io;

use bench::bare::announced;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Requests are short.
const BUFFER: usize = 16 << 10;

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:6969".to_owned());
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(&address))
}

async fn serve(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let body = Bytes::from(announced());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let body = body.clone();
        let service = service_fn(move |request| answer(request, body.clone()));
        let connection = http1::Builder::new()
            .half_close(true)
            .writev(false)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(stream), service);
        // Errors are the client's: it may go at any time.
        tokio::spawn(async { connection.await.ok() });
    }
}

async fn answer(request: Request<Incoming>, body: Bytes) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(body));
    // hyper reads the next request's headers into the map of the last response: taking the request's own
    // saves making one.
    *response.headers_mut() = request.into_parts().0.headers;
    response.headers_mut().clear();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}
