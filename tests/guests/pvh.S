/* The Xen PVH image: entered in 32-bit mode without paging, by its note. Beside that it has Solo5's,
   as MirageOS writes them for Xen: the ABI (xen is 6), and a manifest without a device. */
    .section .note.solo5.abi, "a", @note
    .balign 4
    .long 6, 16, 0x31494241
    .asciz "Solo5"
    .balign 4
    .long 6, 1, 0, 0

    .section .note.solo5.manifest, "a", @note
    .balign 4
    .long 6, 12 + 104, 0x3154464d
    .asciz "Solo5"
    .balign 4
    .long 0, 1, 1           /* padding, version, entries */
    .fill 68                /* the reserved first entry */
    .long 1 << 30
    .fill 32

    .section .note.xen, "a", @note
    .balign 4
    .long 4, 4, 18          /* PHYS32_ENTRY */
    .asciz "Xen"
    .long _start

    .text
    .global _start
_start:
    cld
    mov $stack_top, %esp
    push %ebx               /* the start info */
    call pvh_main

    .bss
    .balign 4096
    .global hypercall_page
hypercall_page:
    .skip 4096
    .skip 65536
stack_top:
    .section .note.GNU-stack, "", @progbits
