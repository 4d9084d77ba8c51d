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
    "Certificate chain in base64, of PEM or of one DER after the other, in place of tls/server.pem."

let tls_key =
  option Arg.(some string) None "tls-key"
    "Private key in base64, of PEM or of PKCS8 as DER, in place of tls/server.key."

let acme_thumbprint =
  option Arg.(some string) None "acme-thumbprint"
    "Thumbprint of the ACME account whose challenges are answered over HTTP."

let redirect =
  option Arg.bool false "redirect"
    "Send who asks over HTTP to HTTPS, once there is a certificate."

let hsts =
  option Arg.int 0 "hsts"
    "Seconds for which a browser shall come by HTTPS alone (HSTS); 0: nothing is said."

(* The certificate chain and its key. *)

let ( let* ) = Result.bind
let about part = Result.map_error (fun (`Msg text) -> `Msg (part ^ ": " ^ text))
let is_der text = String.starts_with ~prefix:"\x30" text

(* A certificate as DER begins with 30 82, and its length in two bytes. *)
let rec split der =
  let whole = String.length der in
  let length =
    if whole > 4 && String.starts_with ~prefix:"\x30\x82" der then
      min whole (4 + String.get_uint16_be der 2)
    else whole
  in
  if whole = 0 then []
  else String.sub der 0 length :: split (String.sub der length (whole - length))

let rec certificates = function
  | [] -> Ok []
  | der :: others ->
      let* certificate = X509.Certificate.decode_der der in
      let* certificates = certificates others in
      Ok (certificate :: certificates)

let decoded_chain text =
  if is_der text then certificates (split text)
  else X509.Certificate.decode_pem_multiple text

let decoded_key text =
  if is_der text then X509.Private_key.decode_der text
  else X509.Private_key.decode_pem text

let config chain key =
  match (chain, key) with
  | None, None -> Ok None
  | None, Some _ -> Error (`Msg "a key, and no certificate")
  | Some _, None -> Error (`Msg "a certificate, and no key")
  | Some chain, Some key ->
      let* chain = about "certificate" (decoded_chain chain) in
      let* key = about "key" (decoded_key key) in
      let* config =
        about "certificate and key"
          (Tls.Config.server ~certificates:(`Single (chain, key)) ())
      in
      Ok (Some config)

(* What is asked over HTTP and not a page. *)

(* RFC 8555, 8.3: the answer to a challenge is made of its token, base64url, and of the account. *)
let challenge path =
  let prefix = "/.well-known/acme-challenge/" in
  let of_token = function
    | 'A' .. 'Z' | 'a' .. 'z' | '0' .. '9' | '-' | '_' -> true
    | _ -> false
  in
  match acme_thumbprint () with
  | Some thumbprint when String.starts_with ~prefix path ->
      let start = String.length prefix in
      let token = String.sub path start (String.length path - start) in
      let length = String.length token in
      if 0 < length && length <= 128 && String.for_all of_token token then
        Some (token ^ "." ^ thumbprint)
      else None
  | _ -> None

(* Where HTTP is sent to, if the visitor says by which name the site was found. *)
let over_https uri =
  let port = match https_port () with 443 -> None | port -> Some port in
  match Uri.host uri with
  | Some host when host <> "" -> Some (Uri.with_port (Uri.with_scheme uri (Some "https")) port)
  | _ -> None

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

  let respond headers status (path, body) =
    let kind = Magic_mime.lookup path in
    let text = String.starts_with ~prefix:"text/" kind in
    let headers =
      Cohttp.Header.add headers "content-type"
        (if text then kind ^ "; charset=utf-8" else kind)
    in
    Http.respond_string ~status ~headers ~body ()

  let serve pages headers path =
    Logs.info (fun log -> log "%S" path);
    let path = if path = "" then "/" else path in
    first pages (files path) >>= function
    | Some page -> respond headers `OK page
    | None -> (
        first pages [ "/404.html" ] >>= function
        | Some page -> respond headers `Not_found page
        | None -> Http.respond_string ~headers ~status:`Not_found ~body:"" ())

  let asked request =
    let uri = Cohttp.Request.uri request in
    (uri, Uri.pct_decode (Uri.path uri))

  let over_tls pages _connection request _body =
    let headers =
      match hsts () with
      | 0 -> Cohttp.Header.init ()
      | seconds ->
          Cohttp.Header.init_with "strict-transport-security"
            ("max-age=" ^ string_of_int seconds)
    in
    serve pages headers (snd (asked request))

  let plainly pages elsewhere _connection request _body =
    let uri, path = asked request in
    match (challenge path, elsewhere uri) with
    | Some body, _ -> Http.respond_string ~status:`OK ~body ()
    | None, Some uri ->
        let headers = Cohttp.Header.init_with "location" (Uri.to_string uri) in
        Http.respond_string ~headers ~status:`Moved_permanently ~body:"" ()
    | None, None -> serve pages (Cohttp.Header.init ()) path

  let secret secrets given name =
    match given with
    | Some text ->
        Base64.decode text |> Result.map Option.some |> Lwt.return
    | None ->
        Secrets.get secrets (Mirage_kv.Key.v name) >|= function
        | Ok text -> Ok (Some text)
        | Error (`Not_found _) -> Ok None
        | Error error -> Error (`Msg (Format.asprintf "%a" Secrets.pp_error error))

  let tls secrets =
    secret secrets (tls_certificate ()) "server.pem" >>= fun chain ->
    secret secrets (tls_key ()) "server.key" >|= fun key ->
    let* chain = about "certificate" chain in
    let* key = about "key" key in
    config chain key

  let start pages secrets conduit =
    let listen port callback =
      let server = Http.make ~callback () in
      Conduit.listen conduit port (fun flow ->
          Http.callback server { Flow.flow; unanswered = 0 })
    in
    let plain elsewhere =
      Logs.info (fun log -> log "listening on %d/TCP" (port ()));
      listen (`TCP (port ())) (plainly pages elsewhere)
    in
    tls secrets >>= function
    | Error (`Msg reason) ->
        (* What starts it tells a wrong pair from a crash: 78 is EX_CONFIG of sysexits.h. *)
        prerr_endline ("tls: " ^ reason);
        exit 78
    | Ok None -> plain (fun _ -> None)
    | Ok (Some config) ->
        Logs.info (fun log -> log "listening on %d/TCP for HTTPS" (https_port ()));
        Lwt.join
          [
            plain (if redirect () then over_https else fun _ -> None);
            listen (`TLS (config, `TCP (https_port ()))) (over_tls pages);
          ]
end
