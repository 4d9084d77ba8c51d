(* Serves the pages in htdocs, which `make site` copies from _site. *)
open Lwt.Infix
open Cmdliner

(* Options at run time. *)

let option kind default name doc =
  Mirage_runtime.register_arg
    Arg.(value & opt kind default & info [ name ] ~doc)

let port = option Arg.int 80 "port" "Port of the HTTP server."
let https_port = option Arg.int 443 "https-port" "Port of the HTTPS server."

let tls_certificate =
  option Arg.(some string) None "tls-certificate"
    "Certificate chain, PEM in base64, in place of tls/server.pem at build time."

let tls_key =
  option Arg.(some string) None "tls-key"
    "Private key, PEM in base64, in place of tls/server.key at build time."

let ok = function Ok value -> value | Error (`Msg text) -> failwith text

module Main
    (Pages : Mirage_kv.RO)
    (Secrets : Mirage_kv.RO)
    (Conduit : Conduit_mirage.S) =
struct
  (* cohttp-mirage 6.3 spins for ever on a request whose head fills its buffer of 16 KiB: what
     comes without an answer in between ends before that. *)
  module Flow = struct
    include Conduit.Flow

    type flow = { flow : Conduit.flow; mutable unanswered : int }

    let read t =
      read t.flow >|= function
      | Ok (`Data data) ->
          t.unanswered <- t.unanswered + Cstruct.length data;
          if t.unanswered < 0x4000 then Ok (`Data data) else Ok `Eof
      | other -> other

    let write t data =
      t.unanswered <- 0;
      write t.flow data

    let writev t data =
      t.unanswered <- 0;
      writev t.flow data

    let shutdown t mode = shutdown t.flow mode
    let close t = close t.flow
  end

  module Http = Cohttp_mirage.Server.Flow (Flow)

  let rec first pages = function
    | [] -> Lwt.return_none
    | path :: others -> (
        Pages.get pages (Mirage_kv.Key.v path) >>= function
        | Ok body -> Lwt.return_some (path, body)
        | Error _ -> first pages others)

  (* Jekyll writes about.html or about/index.html for what is linked as /about or /about/. *)
  let files path =
    if String.ends_with ~suffix:"/" path then [ path ^ "index.html" ]
    else [ path; path ^ ".html"; path ^ "/index.html" ]

  let respond status (path, body) =
    let kind = Magic_mime.lookup path in
    let text = String.starts_with ~prefix:"text/" kind in
    let headers =
      Cohttp.Header.init_with "content-type"
        (if text then kind ^ "; charset=utf-8" else kind)
    in
    Http.respond_string ~status ~headers ~body ()

  let serve pages _connection request _body =
    let path = Uri.pct_decode (Uri.path (Cohttp.Request.uri request)) in
    Logs.info (fun log -> log "%S" path);
    let path = if path = "" then "/" else path in
    first pages (files path) >>= function
    | Some page -> respond `OK page
    | None -> (
        first pages [ "/404.html" ] >>= function
        | Some page -> respond `Not_found page
        | None -> Http.respond_not_found ())

  let pem secrets given name =
    match given with
    | Some text -> Lwt.return_some (ok (Base64.decode text))
    | None -> Secrets.get secrets (Mirage_kv.Key.v name) >|= Result.to_option

  let tls secrets =
    pem secrets (tls_certificate ()) "server.pem" >>= fun chain ->
    pem secrets (tls_key ()) "server.key" >|= fun key ->
    match (chain, key) with
    | Some chain, Some key ->
        let chain = ok (X509.Certificate.decode_pem_multiple chain) in
        let key = ok (X509.Private_key.decode_pem key) in
        Some (ok (Tls.Config.server ~certificates:(`Single (chain, key)) ()))
    | None, None -> None
    | _ -> failwith "HTTPS wants both a certificate and its key"

  let start pages secrets conduit =
    tls secrets >>= fun config ->
    let http port =
      let server = Http.make ~callback:(serve pages) () in
      Conduit.listen conduit port (fun flow ->
          Http.callback server { Flow.flow; unanswered = 0 })
    in
    let plain () =
      Logs.info (fun log -> log "listening on %d/TCP" (port ()));
      http (`TCP (port ()))
    in
    match config with
    | None -> plain ()
    | Some config ->
        Logs.info (fun log -> log "listening on %d/TCP for HTTPS" (https_port ()));
        Lwt.join
          [ plain (); http (`TLS (config, `TCP (https_port ()))) ]
end
